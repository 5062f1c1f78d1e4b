/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The frame that tcpdump would have captured, and the pcap filter run on it. */
#ifndef PWRU_FILTER_BPF_H
#define PWRU_FILTER_BPF_H

/* Never concurrent on one CPU: see "scratch" in pwru.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame);
} frames SEC(".maps");

/*
 * The place of the pcap filter: Python overwrites the END of the run of no-ops
 * with the translated expression, which leaves its verdict in r0 and falls
 * through to the exit. The branch in front is always taken (r0 is 0), so the
 * verifier never walks the no-ops and removes them; its offset, too, is set by
 * Python. Every instruction stays reachable in the control-flow graph, as the
 * verifier demands.
 */
#define STRING(x) STRING_(x)
#define STRING_(x) #x

#define FILTER_STUB(name, capacity)					\
static __noinline __u32 name(const struct frame *frame)			\
{									\
	register const struct frame *arg asm("r1") = frame;		\
	register __u32 verdict asm("r0");				\
									\
	asm volatile("r0 = 0\n"					\
		     "if r0 == 0 goto +0\n"				\
		     ".fill " STRING(capacity) ", 8, 5\n"	/* goto +0 */	\
		     : "=r"(verdict), "+r"(arg)				\
		     :							\
		     : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory"); \
	return verdict;							\
}

FILTER_STUB(pcap_filter, FILTER_CAPACITY)
FILTER_STUB(pcap_filter_inner_l2, INNER_CAPACITY)
FILTER_STUB(pcap_filter_inner_l3, INNER_CAPACITY)

/*
 * Frame bytes before the network header: a real Ethernet header, or one made
 * of skb->protocol with zero addresses; a tag from the metadata goes where it
 * was on the wire. Returns how many bytes of frame->bytes are done; the rest
 * continues at *from.
 */
static __always_inline __u32 link_header(struct sk_buff *skb, const struct headers *h,
					 struct frame *frame, unsigned char **from)
{
	__u32 done = 0;

	if (has_link_header(skb, h)) {
		*from = h->head + h->mac;
		if (!h->tagged)
			return 0;
		bpf_probe_read_kernel(frame->bytes, 12, *from);
		*from += 12;
		done = 12;
	} else if (has_network_header(skb, h)) {
		*from = h->head + h->network;
		__builtin_memset(frame->bytes, 0, 12);
		done = 12;
	} else {
		*from = NULL;
		return 0;
	}
	if (h->tagged) {
		*(__be16 *)(frame->bytes + 12) = h->vlan_proto;
		*(__be16 *)(frame->bytes + 14) = bpf_htons(h->vlan_tci);
		done += VLAN_HLEN;
	}
	if (*from == h->head + h->network) {
		*(__be16 *)(frame->bytes + (done & 31)) = network_protocol(h);
		done += 2;
	}
	return done;
}

/*
 * The frame of which done bytes stand in frame->bytes already and the rest
 * follows at from, as far as the filter needs it.
 */
static __always_inline bool copy_frame(struct sk_buff *skb, const struct headers *h,
				       struct frame *frame, __u32 done, unsigned char *from,
				       __u32 wanted)
{
	__u32 start = from - h->head;
	__u32 size;

	frame->base = (__u64)from - done;
	frame->caplen = done + (h->tail > start ? h->tail - start : 0);
	/* skb->len counts from data, the frame from its link header. */
	frame->len = done + FIELD(skb, len) + (__u32)(h->data - from);
	size = frame->caplen < wanted ? frame->caplen : wanted;
	if (size <= done)
		return true;
	size -= done;
	if (size > FRAME_MAX || done > 18)	/* for the verifier: neither can be */
		return false;
	return !bpf_probe_read_kernel(frame->bytes + done, size, from);
}

static __always_inline bool outer_matches(struct sk_buff *skb, const struct headers *h,
					  struct frame *frame)
{
	unsigned char *from;
	__u32 done = link_header(skb, h, frame, &from);

	return from && copy_frame(skb, h, frame, done, from, cfg.frame_bytes) &&
	       pcap_filter(frame);
}

static __always_inline bool inner_matches(struct sk_buff *skb, const struct headers *h,
					  struct frame *frame)
{
	struct inner inner;

	if (!find_inner(skb, h, &inner))
		return false;
	if (cfg.inner_l2 && !(inner.l2 && copy_frame(skb, h, frame, 0, inner.l2,
						     cfg.inner_l2_bytes) &&
			      pcap_filter_inner_l2(frame)))
		return false;
	if (!cfg.inner_l3)
		return true;
	__builtin_memset(frame->bytes, 0, 12);
	*(__be16 *)(frame->bytes + 12) = inner.proto;
	return copy_frame(skb, h, frame, ETH_HLEN, inner.l3, cfg.inner_l3_bytes) &&
	       pcap_filter_inner_l3(frame);
}

static __always_inline bool filter_matches(struct sk_buff *skb)
{
	struct frame *frame;
	struct headers h;
	__u32 zero = 0;

	if (!cfg.filter && !cfg.inner_l2 && !cfg.inner_l3)
		return true;
	frame = bpf_map_lookup_elem(&frames, &zero);
	if (!frame)
		return false;
	read_headers(skb, &h);
	if (cfg.filter && !outer_matches(skb, &h, frame))
		return false;
	return (!cfg.inner_l2 && !cfg.inner_l3) || inner_matches(skb, &h, frame);
}

#endif
