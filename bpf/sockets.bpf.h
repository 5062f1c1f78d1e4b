/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which process made a packet's socket: --filter-pid, --filter-comm, --output-owner.
 *
 * A socket that a process has is a file, whose inode number tells it from every other. It is noted
 * where a process makes the file, by socket(2) or accept(2). So it does not matter what runs when
 * the packet is seen, or which addresses the packet has by then.
 */
#ifndef PWRU_SOCKETS_BPF_H
#define PWRU_SOCKETS_BPF_H

/*
 * Who made a socket, by its inode number. User space adds those that were there before the session.
 * Nobody deletes; full: the socket that was not looked for longest is forgotten.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct socket_owner);
} owners SEC(".maps");

/* A way of packets, in one namespace. */
struct flow_of {
	__u32 netns; /* inode number */
	struct event_tuple tuple;
};

/*
 * Who made the socket that packets which look so come to: learnt of what was sent the other way, and
 * of what has come to it; without a source, of those that begin something, see begins(). Written
 * again with each packet; full: the least recently used gives way.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, struct flow_of);
	__type(value, struct socket_owner);
} receivers SEC(".maps");

/*
 * Where a packet is whose socket was found, by its address: TCP clears skb->dev then, and the packet
 * has no socket of its own. Asked where nothing else tells, and believed if the packet's flow is
 * known there. Full: the least recently used gives way.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, __u32);
} taken SEC(".maps");

static __always_inline __u32 taken_in(__u64 addr)
{
	__u32 *netns = bpf_map_lookup_elem(&taken, &addr);

	return netns ? *netns : 0;
}

static __always_inline __u16 socket_family(struct sock *sk)
{
	return FIELD(sk, __sk_common.skc_family);
}

/*
 * The packet's socket, as a VIEW; of a connection that is being made the one that listens; NULL:
 * it has none that a process may have. Sockets of processes among each other, and to the kernel,
 * send no packets.
 */
static __always_inline struct sock *packet_socket(struct sk_buff *skb)
{
	struct sock *sk = FIELD(skb, sk);
	__u16 family;
	__u8 state;

	if (!sk)
		return NULL;
	sk = VIEW(sk);
	state = FIELD(sk, __sk_common.skc_state);
	if (state == TCP_TIME_WAIT)
		return NULL;
	if (state == TCP_NEW_SYN_RECV) {
		sk = FIELD(sk, __sk_common.skc_listener);
		if (!sk)
			return NULL;
		sk = VIEW(sk);
	}
	family = socket_family(sk);
	return family == AF_UNSPEC || family == AF_UNIX || family == AF_NETLINK ? NULL : sk;
}

/* 0: no process has it. */
static __always_inline __u64 socket_inode(struct socket *socket)
{
	struct socket_alloc *made = VIEW((struct socket_alloc *)socket);

	return socket ? FIELD(made, vfs_inode.i_ino) : 0;
}

/* NULL: not known. */
static __always_inline struct socket_owner *socket_owner(struct sock *sk)
{
	__u64 inode = socket_inode(FIELD(sk, sk_socket));

	return inode ? bpf_map_lookup_elem(&owners, &inode) : NULL;
}

/* The process that runs. Its name ends with a zero, behind which the kernel may have others. */
static __always_inline void this_process(struct socket_owner *owner)
{
	struct task_struct *task = VIEW((struct task_struct *)bpf_get_current_task());
	struct task_struct *leader = FIELD(task, group_leader);

	__builtin_memset(owner, 0, sizeof(*owner));
	owner->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_core_read_str(owner->comm, sizeof(owner->comm), &leader->comm);
}

/* Where sock_alloc_file(socket, flags, name) is entered. */
static __always_inline void note_owner(struct socket *socket)
{
	__u64 inode = socket_inode(socket);
	struct socket_owner owner;

	this_process(&owner);
	if (inode)
		bpf_map_update_elem(&owners, &inode, &owner, BPF_ANY);
}

/*
 * The same where no function can be probed: a system call has made a socket, if its number means
 * what it does in a process of 64 bits. In one of 32 it may be dup(2): then who made it stays.
 */
static __always_inline void note_made(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = VIEW((struct task_struct *)bpf_get_current_task());
	struct pt_regs *regs = VIEW((struct pt_regs *)ctx->args[0]);
	__u64 number = 0, file_at = 0, inode, fd = ctx->args[1];
	struct socket_owner owner;
	struct files_struct *files;
	struct inode *found;
	struct fdtable *table;
	struct file *file;

	read_words(&number, &regs->orig_ax, 1);
	if (!MAKES_SOCKET(number))
		return;
	files = VIEW(FIELD(task, files));
	table = VIEW(FIELD(files, fdt));
	if (fd >= FIELD(table, max_fds)) /* an error, too */
		return;
	read_words(&file_at, FIELD(table, fd) + fd, 1);
	if (!file_at)
		return;
	file = VIEW((struct file *)file_at);
	found = VIEW(FIELD(file, f_inode));
	if ((FIELD(found, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	inode = FIELD(found, i_ino);
	this_process(&owner);
	bpf_map_update_elem(&owners, &inode, &owner, BPF_NOEXIST);
}

/* How a packet that answers this one looks. */
static __always_inline void turn(struct event_tuple *t)
{
	__u32 *from = (__u32 *)t->saddr, *to = (__u32 *)t->daddr, word;
	__be16 port = t->sport;
	int i;

#pragma unroll
	for (i = 0; i < 4; i++) {
		word = from[i];
		from[i] = to[i];
		to[i] = word;
	}
	if (t->ids == IDS_PORTS) {
		t->sport = t->dport;
		t->dport = port;
	} else if (t->l3 == L3_ARP) {
		t->icmp_type++; /* a request, a reply */
	} else if (t->ids == IDS_ICMP_ECHO && t->l3 == L3_IPV4 && t->icmp_type == 8) {
		t->icmp_type = 0;
	} else if (t->ids == IDS_ICMP_ECHO) {
		t->icmp_type++; /* 128 and 129; 13 and 14, 15 and 16, 17 and 18 */
	}
}

#define TCP_SYN 0x02 /* RFC 9293, section 3.1 */
#define TCP_ACK 0x10

/* A datagram, or the first packet of a connection: which socket it comes to, its target alone says. */
static __always_inline bool begins(const struct event_tuple *t, __u8 tcp_flags)
{
	if (t->ids != IDS_PORTS)
		return false;
	if (t->l4 == IPPROTO_TCP)
		return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return t->l4 == IPPROTO_UDP || t->l4 == IPPROTO_UDPLITE;
}

/* Of such a packet: all that go to the same address and port. */
static __always_inline void forget_source(struct flow_of *flow)
{
	__builtin_memset(flow->tuple.saddr, 0, sizeof(flow->tuple.saddr));
	flow->tuple.sport = 0;
}

/*
 * By the packet's socket. Where it has none yet or no more, or one that no process has: by what was
 * sent the other way: to this end, or without a device that received it (the kernel notes that late)
 * from it. The event has its tuple already. What a socket of packets or a raw one has got
 * is a copy, which says nothing of others.
 */
static __noinline int fill_owner(struct event *ev, __u64 addr)
{
	struct socket_owner *owner = SECTION(ev, SECTION_OWNER), *found = NULL;
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct sock *sk = packet_socket(skb);
	bool received = FIELD(skb, skb_iif);
	struct flow_of flow = {};
	bool held = false;

	__builtin_memset(owner, 0, sizeof(*owner));
	flow.netns = ev->netns ?: taken_in(addr);
	__builtin_memcpy(&flow.tuple, &ev->tuple, sizeof(flow.tuple));
	if (!sk && !received && flow.tuple.l3)
		found = bpf_map_lookup_elem(&receivers, &flow);
	if (!received)
		turn(&flow.tuple);
	if (sk) {
		held = FIELD(sk, sk_socket);
		found = socket_owner(sk);
	}
	if (held && !received && socket_family(sk) != AF_PACKET && flow.tuple.l3) {
		if (found)
			bpf_map_update_elem(&receivers, &flow, found, BPF_ANY);
		else
			bpf_map_delete_elem(&receivers, &flow);
	}
	if (!held && !found && flow.tuple.l3)
		found = bpf_map_lookup_elem(&receivers, &flow);
	if (!held && !found && received && begins(&flow.tuple, ev->tcp_flags)) {
		forget_source(&flow);
		found = bpf_map_lookup_elem(&receivers, &flow);
	}
	if (found)
		__builtin_memcpy(owner, found, sizeof(*owner));
	return 0;
}

#endif
