/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets of the sockets of a control group or a process, and the answers to them: --filter-cgroup,
 * --exec, --filter-pid, --filter-comm.
 *
 * A socket is of the group that its maker was in (cgroup v2), and so are connections that it
 * accepts; of which process it is, sockets.bpf.h tells. A packet that comes in has no socket yet: it
 * is an answer when a packet of the group or process has gone the other way, in the same namespace
 * and between the same addresses and ports. Every one that is followed tells of its way, so that
 * answers are known on both sides of a translation. One that nobody was sent for, to a server, is
 * known by where the kernel has found its socket, and those that come there later by that.
 */
#ifndef PWRU_OWNER_BPF_H
#define PWRU_OWNER_BPF_H

#define CGROUP_LEVELS_MAX 12 /* from a socket's group upwards; one further up is not found */

/*
 * Their flows, in both directions. Nobody deletes; full: the least recently used gives way,
 * and comes back with its next packet.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, struct flow_of);
	__type(value, __u8);
} owned SEC(".maps");

static __always_inline struct cgroup *socket_cgroup(struct sock *sk)
{
	struct sock_cgroup_data *data = &sk->sk_cgrp_data;
	struct sock_cgroup_data___flags *flags = (void *)data;
	__u64 value;

	if (bpf_core_field_exists(data->cgroup))
		return VIEW(FIELD(data, cgroup));
	value = FIELD(flags, val);
	return value & 1 ? NULL : (struct cgroup *)(value & ~3ULL);
}

static __noinline bool in_cgroup(struct cgroup *group)
{
	struct cgroup_subsys_state *parent;
	struct kernfs_node *node;
	int i;

	for (i = 0; i < CGROUP_LEVELS_MAX && group; i++) {
		node = VIEW(FIELD(group, kn));
		if (FIELD(node, id) == cfg.cgroup)
			return true;
		parent = FIELD(group, self.parent);
		if (!parent)
			return false;
		parent = VIEW(parent);
		group = VIEW(FIELD(parent, cgroup));
	}
	return false;
}

static __always_inline bool is_chosen(const struct socket_owner *owner)
{
	const volatile __u64 *wanted = (const volatile __u64 *)cfg.owner_comm;
	const __u64 *name = (const __u64 *)owner->comm;

	if (cfg.owner_pid && owner->pid != cfg.owner_pid)
		return false;
	return !wanted[0] || (name[0] == wanted[0] && name[1] == wanted[1]);
}

static __always_inline bool socket_is_owned(struct sock *sk)
{
	struct socket_owner *owner;

	if (!sk)
		return false;
	if (cfg.cgroup &&
	    (!bpf_core_field_exists(sk->sk_cgrp_data) || !in_cgroup(socket_cgroup(sk))))
		return false;
	if (!cfg.owner_pid && !cfg.owner_comm[0])
		return true;
	owner = socket_owner(sk);
	return owner && is_chosen(owner);
}

/* Is it a task of the group, of the process, that runs? Not told: an interrupt may be upon it. */
static __always_inline bool task_is_owned(__u32 slot)
{
	struct task_struct *task = VIEW((struct task_struct *)bpf_get_current_task());
	struct workspace *own = NULL;
	struct socket_owner runs;
	struct css_set *set;
	__u8 context;

#if !TYPED_LOADS
	own = bpf_map_lookup_elem(&workspaces, &slot);
	if (!own)
		return false;
#endif
	context = cpu_context(own);
	if (context != CONTEXT_TASK && context != CONTEXT_UNKNOWN)
		return false;
	if (cfg.owner_pid || cfg.owner_comm[0]) {
		this_process(&runs);
		if (!is_chosen(&runs))
			return false;
	}
	if (!cfg.cgroup)
		return true;
	set = VIEW(FIELD(task, cgroups));
	return in_cgroup(VIEW(FIELD(set, dfl_cgrp)));
}

/* An ICMP message that quotes the packet that it is about (RFC 792, RFC 4443). */
static __always_inline bool is_icmp_error(const struct event_tuple *t)
{
	if (!is_icmp(t) || t->ids != IDS_ICMP)
		return false;
	if (t->l3 == L3_IPV6)
		return t->icmp_type < 128;
	return t->icmp_type == 3 || t->icmp_type == 4 || t->icmp_type == 5 || t->icmp_type == 11 ||
	       t->icmp_type == 12;
}

#define NEIGHBOUR_SOLICITATION 135 /* RFC 4861 */
#define ARP_REQUEST 1

/* The kernel asks for a neighbour without a socket of the task's; again by a timer, perhaps. */
static __always_inline bool asks_for_neighbour(const struct event_tuple *t)
{
	if (t->l3 == L3_ARP)
		return t->icmp_type == ARP_REQUEST;
	return t->l3 == L3_IPV6 && is_icmp(t) && t->icmp_type == NEIGHBOUR_SOLICITATION;
}

#define ICMP_HLEN 8
#define IPV6_HLEN 40

/* From where the error begins to what it quotes. An IPv6 header with extensions is not walked. */
static __always_inline void enter_quoted(struct place *place)
{
	__be16 proto = skip_tags(place->proto, &place->start);
	__u8 first = read_u8(place->start);

	place->start += (first >> 4 == 6 ? IPV6_HLEN : (first & 0xf) * 4) + ICMP_HLEN;
	place->proto = proto;
	place->copy = NULL;
}

static __always_inline void remember(const struct flow_of *flow)
{
	__u8 none = 0;

	if (!bpf_map_lookup_elem(&owned, flow))
		bpf_map_update_elem(&owned, flow, &none, BPF_ANY);
}

/* The flow is turned then. */
static __always_inline void remember_both(struct flow_of *flow)
{
	remember(flow);
	turn(&flow->tuple);
	remember(flow);
}

/*
 * Where the packet is, and where its headers are; 0: neither is known. netns: the former, if that is
 * known. A function of its own: its variables and those of read_tuple_at() would not fit on the
 * stack together.
 */
static __noinline __u32 find_headers(__u64 addr, struct place *place, __u32 netns)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct where where;
	struct headers h;

	if (!look_where(skb, &where))
		return 0;
	read_headers(skb, &h);
	find_place(skb, &h, place);
	return netns ?: where.netns ?: taken_in(addr);
}

/*
 * Where and what the packet is; NULL: it has no headers yet. `place`: where they are. flow->netns: 0,
 * or where the packet is known to be.
 */
static __always_inline struct event *read_flow(__u64 addr, __u32 slot, struct flow_of *flow,
					       struct place *place)
{
	struct event *ev = bpf_map_lookup_elem(&scratch, &slot);

	if (!ev)
		return NULL;
	flow->netns = find_headers(addr, place, flow->netns);
	ev->tcp_flags = 0;
	read_tuple_at(place, ev);
	flow->tuple = ev->tuple;
	return ev->tuple.l3 ? ev : NULL;
}

/*
 * The kernel has found the socket that a packet comes to: sk_filter_trim_cap(sk, skb, …), which every
 * protocol's reception runs. TCP has cleared skb->dev by then, but the socket has the namespace.
 * Where several sockets share the port, nobody knows which one the next packet comes to.
 */
static __noinline int note_receiver(__u64 socket, __u64 addr, __u32 slot)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct sock *sk = VIEW((struct sock *)socket);
	struct socket_owner *owner;
	struct flow_of flow = {};
	struct place place = {};
	struct event *ev;
	bool ours, first;

	if (!FIELD(skb, skb_iif))
		return 0;
	flow.netns = net_inum(FIELD(sk, __sk_common.skc_net.net));
	ev = read_flow(addr, slot, &flow, &place);
	if (!ev || flow.tuple.ids != IDS_PORTS)
		return 0;
	bpf_map_update_elem(&taken, &addr, &flow.netns, BPF_ANY);
	first = begins(&flow.tuple, ev->tcp_flags) &&
		!BPF_CORE_READ_BITFIELD_PROBED(&sk->__sk_common, skc_reuseport);
	owner = socket_owner(sk);
	if (owner && HAS_SECTION(SECTION_OWNER))
		bpf_map_update_elem(&receivers, &flow, owner, BPF_ANY);
	ours = cfg.owned && socket_is_owned(sk);
	if (ours) {
		remember_both(&flow);
		turn(&flow.tuple);
	}
	if (!first)
		return 0;
	forget_source(&flow);
	if (ours)
		remember(&flow);
	else if (cfg.owned)
		bpf_map_delete_elem(&owned, &flow);
	if (owner && HAS_SECTION(SECTION_OWNER))
		bpf_map_update_elem(&receivers, &flow, owner, BPF_ANY);
	return 0;
}

/* Is it one of their packets, or an answer to one? */
static __noinline bool is_owned(__u64 addr, __u32 slot)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	bool ours = socket_is_owned(packet_socket(skb));
	struct place place = {};
	struct flow_of flow = {};
	struct event *ev = read_flow(addr, slot, &flow, &place);

	if (!ev)
		return ours;
	if (!ours && asks_for_neighbour(&flow.tuple) && !FIELD(skb, skb_iif))
		ours = task_is_owned(slot);
	if (ours) {
		remember_both(&flow);
		return true;
	}
	if (bpf_map_lookup_elem(&owned, &flow))
		return true;
	if (begins(&flow.tuple, ev->tcp_flags)) {
		forget_source(&flow);
		return bpf_map_lookup_elem(&owned, &flow);
	}
	if (!is_icmp_error(&flow.tuple))
		return false;
	enter_quoted(&place);
	read_tuple_at(&place, ev);
	flow.tuple = ev->tuple;
	return bpf_map_lookup_elem(&owned, &flow);
}

#define LINK_BYTES_MAX 22 /* by which a length may differ: a link header, two VLAN tags */

/*
 * The answer to a followed packet comes back by the addresses that it has now. Not by those of a
 * tunnel, which carries other packets, too: in one it is longer, or of another protocol.
 */
static __noinline void note_way(__u64 addr, __u32 slot)
{
	struct followed *known = bpf_map_lookup_elem(&tracked, &addr);
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct place place = {};
	struct flow_of flow = {};
	__u32 len = FIELD(skb, len);

	if (!known || !read_flow(addr, slot, &flow, &place))
		return;
	if (!known->len) {
		known->len = len;
		known->l4 = flow.tuple.l4;
		return;
	}
	if (known->l4 != flow.tuple.l4 || len > known->len + LINK_BYTES_MAX ||
	    len + LINK_BYTES_MAX < known->len)
		return;
	remember_both(&flow);
}

#endif
