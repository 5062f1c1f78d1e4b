/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What conntrack knows of a packet: skb->_nfct, and what nf_conntrack_in() has said. */
#ifndef PWRU_CONNTRACK_BPF_H
#define PWRU_CONNTRACK_BPF_H

/* include/linux/skbuff.h: the rest is the entry's address. */
#define NFCT_INFO_MASK 7ULL

/* include/uapi/linux/netfilter/nf_conntrack_common.h */
#define IP_CT_IS_REPLY 3
#define IP_CT_UNTRACKED 7
#define IPS_SRC_NAT (1 << 4)
#define IPS_DST_NAT (1 << 5)
#define IPS_TEMPLATE (1 << 11)

/*
 * A packet without an entry may be one that conntrack has found invalid, or one that it has not had
 * yet. So it is noted where nf_conntrack_in() lets a packet go without an entry. That is true of the
 * packet as it is there: of this network header, come by this device, in this namespace. Deleted
 * when conntrack gives the packet an entry, and when the allocator hands the address out again. Full:
 * the oldest gives way, and shows as one without an entry.
 */
struct judged {
	__u32 netns; /* inode number */
	__u32 iif;
	__u64 why; /* address of the text that the kernel would log; 0: none */
	__u32 network;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct judged);
} judged SEC(".maps");

/* A packet in nf_conntrack_in(), by the stack pointer at its return address. */
struct judging {
	__u64 addr;
	__u64 state; /* struct nf_hook_state */
	__u64 ts_ns; /* CLOCK_MONOTONIC */
	__u32 cpu;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct judging);
} judging SEC(".maps");

static __always_inline __u64 read_nfct(struct sk_buff *skb)
{
	return bpf_core_field_exists(skb->_nfct) ? FIELD(skb, _nfct) : 0;
}

static __always_inline const struct judged *find_judged(__u64 addr, struct sk_buff *skb)
{
	const struct judged *found = bpf_map_lookup_elem(&judged, &addr);
	struct where where;

	if (!found || found->iif != FIELD(skb, skb_iif) ||
	    found->network != FIELD(skb, network_header))
		return NULL;
	return look_where(skb, &where) && where.netns == found->netns ? found : NULL;
}

/* What is known without a look at the entry, and at what nf_conntrack_in() has said. */
static __always_inline __u8 state_of(__u64 nfct)
{
	__u64 info = nfct & NFCT_INFO_MASK;

	if (!(nfct & ~NFCT_INFO_MASK))
		return info == IP_CT_UNTRACKED ? CT_UNTRACKED : CT_NONE;
	switch (info % IP_CT_IS_REPLY) {
	case 0: return CT_ESTABLISHED;
	case 1: return CT_RELATED;
	default: return CT_NEW;
	}
}

/* The entry's status; its first member counts its holders: without any it is no more. */
static __always_inline bool read_status(__u64 entry, __u64 *status)
{
	*status = 0;
	if (!read_u32((const void *)entry))
		return false;
	read_words(status, (const void *)(entry + cfg.conntrack.status), 1);
	return true;
}

/* --filter-ct-state, --filter-ct-mark. A function of its own, for its variables. */
static __noinline bool ct_matches(__u64 addr)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	__u64 nfct = read_nfct(skb), entry = nfct & ~NFCT_INFO_MASK, status = 0;
	__u32 states = 1 << state_of(nfct);

	if (entry && !read_status(entry, &status))
		return false;
	if (status & IPS_TEMPLATE) {
		entry = 0;
		states = 1 << CT_TEMPLATE;
	} else {
		states |= status & IPS_SRC_NAT ? 1 << CT_SNAT : 0;
		states |= status & IPS_DST_NAT ? 1 << CT_DNAT : 0;
	}
	if (cfg.conntrack.judges && states == 1 << CT_NONE && find_judged(addr, skb))
		states = 1 << CT_INVALID;
	if (cfg.conntrack.states && !(cfg.conntrack.states & states))
		return false;
	if (!cfg.conntrack.mark_mask)
		return true;
	return entry && (read_u32((const void *)(entry + cfg.conntrack.mark_at)) &
			 cfg.conntrack.mark_mask) == cfg.conntrack.mark;
}

/* Likewise. */
static __noinline int fill_conntrack(struct event *ev, __u64 addr)
{
	struct conntracked *ct = SECTION(ev, SECTION_CONNTRACK);
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	__u64 nfct = read_nfct(skb), entry = nfct & ~NFCT_INFO_MASK, status;
	const struct judged *found;

	__builtin_memset(ct, 0, sizeof(*ct));
	ct->state = state_of(nfct);
	if (entry) {
		if (!read_status(entry, &status)) {
			ct->state = CT_UNTOLD;
			return 0;
		}
		ct->reply = (nfct & NFCT_INFO_MASK) >= IP_CT_IS_REPLY;
		ct->has_entry = !bpf_probe_read_kernel(SECTION(ev, SECTION_ENTRY),
						       cfg.conntrack.bytes, (void *)entry);
		if (status & IPS_TEMPLATE)
			ct->state = CT_TEMPLATE;
		return 0;
	}
	if (!cfg.conntrack.judges || ct->state != CT_NONE)
		return 0;
	found = find_judged(addr, skb);
	if (!found)
		return 0;
	ct->state = CT_INVALID;
	if (found->why)
		bpf_probe_read_kernel_str(ct->why, WHY_MAX, (const void *)found->why);
	return 0;
}

/* Where nf_conntrack_in(skb, state) is entered, and left. */
static __always_inline void begin_judging(struct pt_regs *ctx)
{
	struct judging in = {
		.addr = ARG1(ctx),
		.state = ARG2(ctx),
		.ts_ns = bpf_ktime_get_ns(),
		.cpu = bpf_get_smp_processor_id(),
	};
	__u64 sp = CTX_FIELD(ctx, sp);

	bpf_map_delete_elem(&judged, &in.addr);
	bpf_map_update_elem(&judging, &sp, &in, BPF_ANY);
}

static __always_inline void end_judging(struct pt_regs *ctx)
{
	__u64 sp = CTX_FIELD(ctx, sp) - sizeof(__u64);
	struct judging *found = bpf_map_lookup_elem(&judging, &sp), in;
	struct judged said = {}, *noted;
	struct nf_hook_state *state;
	struct sk_buff *skb;

	if (!found)
		return;
	in = *found;
	bpf_map_delete_elem(&judging, &sp);
	if (in.cpu != bpf_get_smp_processor_id() || bpf_ktime_get_ns() - in.ts_ns > WITHIN_NS)
		return;
	skb = VIEW((struct sk_buff *)in.addr);
	if (read_nfct(skb) || (CTX_FIELD(ctx, ax) & NF_VERDICT_MASK) != NF_ACCEPT) {
		bpf_map_delete_elem(&judged, &in.addr);
		return;
	}
	noted = bpf_map_lookup_elem(&judged, &in.addr);
	if (noted)
		said.why = noted->why;
	state = VIEW((struct nf_hook_state *)in.state);
	said.netns = net_inum(FIELD(state, net));
	said.iif = FIELD(skb, skb_iif);
	said.network = FIELD(skb, network_header);
	bpf_map_update_elem(&judged, &in.addr, &said, BPF_ANY);
}

#define FORMAT_S 0x007325   /* "%s" */
#define FORMAT_VA 0x567025  /* "%pV": struct va_format, which begins with another format */
#define NOT_JUDGED 0xffffff /* no network header is there */

/*
 * Within nf_conntrack_in(): what the kernel logs of an invalid packet, if it is told to
 * (net.netfilter.nf_conntrack_log_invalid). A format is text of the kernel or of its module.
 */
static __always_inline void note_why(__u64 addr, __u64 format, __u64 next)
{
	struct judged noted = {.why = format, .network = NOT_JUDGED};
	__u32 text = read_u32((const void *)format);

	if ((text & 0xffffff) == FORMAT_S)
		noted.why = next;
	else if (text == FORMAT_VA)
		read_words(&noted.why, (const void *)next, 1);
	bpf_map_update_elem(&judged, &addr, &noted, BPF_ANY);
}

#endif
