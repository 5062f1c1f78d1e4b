/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The frame that tcpdump would have captured, and the pcap filter run on it. */
#ifndef PWRU_FILTER_BPF_H
#define PWRU_FILTER_BPF_H

/* Frames that are copied. Never concurrent on one CPU: see "scratch" in pwru.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame);
} frames SEC(".maps");

/*
 * The place of a pcap filter: Python overwrites the END of the run of no-ops with the
 * translated expression, which leaves its verdict in r0 and falls through. The branch in
 * front is always taken (r0 is 0), so the verifier never walks the no-ops and removes them;
 * its offset, too, is set by Python. Every instruction stays reachable in the control-flow
 * graph, as the verifier demands.
 *
 * Verdict: 0, or 1 + the bytes that the frame must have (of a copied frame, just 1).
 * packet: frame->near as a VIEW.
 */
#define STRING(x) STRING_(x)
#define STRING_(x) #x

#define RUN_FILTER(capacity, frame, packet) ({				\
	register const void *__frame asm("r1") = (frame);		\
	register const void *__packet asm("r2") = (packet);		\
	register __u64 __verdict asm("r0");				\
									\
	asm volatile("r0 = 0\n"					\
		     "if r0 == 0 goto +0\n"				\
		     ".fill " STRING(capacity) ", 8, 5\n"	/* goto +0 */	\
		     : "=r"(__verdict), "+r"(__frame), "+r"(__packet)	\
		     :							\
		     : "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory"); \
	__verdict;							\
})

/* Where a frame begins, and what of it is nowhere in memory. */
struct link {
	unsigned char *start;	/* byte i >= ETH_HLEN of the frame is at start + i */
	__be16 proto;		/* of the header at start + ETH_HLEN; 0: its version says */
	bool made;		/* no link header there: zero addresses and proto stand in */
};

/* A real Ethernet header, or one made of skb->protocol. */
static __always_inline bool find_link(struct sk_buff *skb, const struct headers *h,
				      struct link *link)
{
	if (has_link_header(skb, h)) {
		link->start = h->head + h->mac;
		link->made = false;
		return true;
	}
	if (!has_network_header(skb, h))
		return false;
	link->start = h->head + h->network - ETH_HLEN;
	link->proto = h->protocol;
	link->made = true;
	return true;
}

/* The EtherType of a made header; first: the byte behind it, if there is one. */
static __always_inline __be16 link_protocol(const struct link *link, __u32 caplen, __u8 first)
{
	return caplen > ETH_HLEN ? network_protocol(link->proto, first) : link->proto;
}

/* Bytes of the frame in linear memory. */
static __always_inline __u32 captured(const struct headers *h, const struct link *link)
{
	__u32 start = link->start - h->head + (link->made ? ETH_HLEN : 0);

	return (link->made ? ETH_HLEN : 0) + (h->tail > start ? h->tail - start : 0);
}

/* skb->len counts from data, the frame from its link header. */
static __always_inline __u32 whole_length(struct sk_buff *skb, const struct link *link)
{
	return FIELD(skb, len) + (__u32)(FIELD(skb, data) - link->start);
}

/*
 * The frame as far as the filter can look at it, in a per-CPU buffer. tagged: the tag
 * from the metadata goes where it was on the wire.
 */
static __always_inline struct frame *copy_frame(struct sk_buff *skb, const struct headers *h,
						const struct link *link, bool tagged,
						const volatile struct needs *needs)
{
	__u32 zero = 0, wanted = needs->bytes, done = 12;
	struct frame *frame = bpf_map_lookup_elem(&frames, &zero);

	if (!frame)
		return NULL;
	frame->base = (__u64)link->start;
	frame->caplen = captured(h, link);
	if (needs->length)
		frame->len = whole_length(skb, link);
	if (!wanted)
		return frame;
	if (!tagged && !link->made)
		return bpf_probe_read_kernel(frame->bytes, wanted, link->start) ? NULL : frame;
	if (link->made)
		__builtin_memset(frame->bytes, 0, 12);
	else
		bpf_probe_read_kernel(frame->bytes, 12, link->start);
	if (tagged) {
		*(__be16 *)(frame->bytes + 12) = h->vlan_proto;
		*(__be16 *)(frame->bytes + 14) = bpf_htons(h->vlan_tci);
		done += VLAN_HLEN;
	}
	/* The EtherType, or what lies where there is none, and all behind it. */
	bpf_probe_read_kernel(frame->bytes + done, wanted - 12, link->start + 12);
	if (link->made)
		*(__be16 *)(frame->bytes + done) =
			link_protocol(link, frame->caplen, frame->bytes[done + 2]);
	if (tagged) {
		frame->base -= VLAN_HLEN;
		frame->caplen += VLAN_HLEN;
		frame->len += VLAN_HLEN;
	}
	return frame;
}

#if TYPED_LOADS

/*
 * The frame stays where it is; what the filter asks for of its first bytes is put on the
 * stack. Here all but the EtherType.
 */
static __always_inline void fill_view(struct sk_buff *skb, const struct link *link,
				      const volatile struct needs *needs,
				      struct frame_view *view)
{
	__u64 start = (__u64)link->start, end = (__u64)FIELD(skb, head) + FIELD(skb, tail);
	const __u64 *words = VIEW((const void *)start);

	view->caplen = end > start ? end - start : 0;
	if (needs->length)
		view->len = whole_length(skb, link);
	if (needs->link) {
		((__u64 *)view->bytes)[0] = link->made ? 0 : words[0];
		((__u64 *)view->bytes)[1] = words[1];
		((__u64 *)view->bytes)[2] = words[2];
		if (link->made)
			((__u32 *)view->bytes)[2] = 0;
	}
}

/* Of any frame but those whose tag is in the metadata. */
static __always_inline void view_frame(struct sk_buff *skb, const struct link *link,
				       const volatile struct needs *needs,
				       struct frame_view *view)
{
	const void *packet = VIEW((const void *)link->start);
	__be16 proto = *(const __be16 *)(packet + ETH_HLEN - 2);

	fill_view(skb, link, needs, view);
	view->base = view->near = (__u64)link->start;
	if (link->made)
		proto = link_protocol(link, view->caplen, *(const __u8 *)(packet + ETH_HLEN));
	*(__be16 *)(view->bytes + ETH_HLEN - 2) = proto;
}

/*
 * The frames that are rare: with a tag in the metadata, which shifts all behind it and so
 * takes a copy, with a tag in its bytes, with only one of the two headers set.
 */
static __noinline int view_rare(__u64 addr, struct frame_view *view)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct link link = {};
	struct frame *copy;
	struct headers h;

	read_headers(skb, &h);
	if (!find_link(skb, &h, &link))
		return 0;
	if (!h.tagged) {
		view_frame(skb, &link, &cfg.filter, view);
		return 1;
	}
	copy = copy_frame(skb, &h, &link, true, &cfg.filter);
	if (!copy)
		return 0;
	/* By way of memory the buffer's address becomes a number. */
	copy->near = (__u64)copy->bytes;
	view->base = copy->base;
	view->caplen = copy->caplen;
	view->len = copy->len;
	view->near = *(volatile __u64 *)&copy->near;
	__builtin_memcpy(view->bytes, copy->bytes, sizeof(view->bytes));
	return 1;
}

/*
 * The hottest code there is. Most frames have a real link header just in front of the
 * network header, or none yet.
 */
static __always_inline __u64 filter_frame(__u64 addr)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	__u64 word = HEADERS_WORD(skb);
	__u64 vlan = VLAN_WORD(skb);
	__u64 mac = word >> 48, network = word << 16 >> 48, end;
	struct frame_view view;
	struct link link = {};
	const void *packet;
	__u64 verdict;
	__be16 proto;

	if (vlan)
		goto rare;
	if (network - mac == ETH_HLEN) {
		link.start = FIELD(skb, head) + mac;
		packet = VIEW((const void *)link.start);
		proto = *(const __be16 *)(packet + ETH_HLEN - 2);
	} else if (mac == HEADER_UNSET && network && (__u16)word) {
		link.start = FIELD(skb, head) + network - ETH_HLEN;
		link.made = true;
		packet = VIEW((const void *)link.start);
		proto = network_protocol(word, *(const __u8 *)(packet + ETH_HLEN));
	} else {
		goto rare;
	}
	if (cfg.filter.more)
		fill_view(VIEW((struct sk_buff *)addr), &link, &cfg.filter, &view);
	view.base = view.near = (__u64)link.start;
	*(__be16 *)(view.bytes + ETH_HLEN - 2) = proto;
	goto run;
rare:
	if (!view_rare(addr, &view))
		return 0;
	packet = VIEW((const void *)view.near);
run:
	verdict = RUN_FILTER(FILTER_CAPACITY, &view, packet);
	if (!verdict)
		return 0;
	skb = VIEW((struct sk_buff *)addr);
	end = (__u64)FIELD(skb, head) + FIELD(skb, tail);
	return (end > view.base ? end - view.base : 0) + 1 >= verdict; /* MATCH */
}

#define INNER_FILTER(name)						\
static __noinline __u64 name(__u64 addr, const struct headers *h, const struct link *link) \
{									\
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);		\
	struct frame_view view;						\
	__u64 verdict;							\
									\
	view_frame(skb, link, &cfg.name, &view);			\
	verdict = RUN_FILTER(INNER_CAPACITY, &view, VIEW((const void *)view.near)); \
	return verdict && view.caplen + 1 >= verdict;			\
}

#else

static __noinline struct frame *copy_rare(__u64 addr)
{
	struct sk_buff *skb = (struct sk_buff *)addr;
	struct link link = {};
	struct headers h;

	read_headers(skb, &h);
	if (!find_link(skb, &h, &link))
		return NULL;
	return copy_frame(skb, &h, &link, h.tagged, &cfg.filter);
}

static __always_inline __u64 filter_frame(__u64 addr)
{
	struct sk_buff *skb = (struct sk_buff *)addr;
	__u32 zero = 0, wanted = cfg.filter.bytes;
	__u64 span[HEADERS_SPAN], mac, network, tail;
	const struct sk_buff *view;
	unsigned char *start;
	struct frame *frame;

	if (cfg.filter.more)
		goto rare;
	view = READ_SPAN(skb, vlan_proto, head, span);
	if (!view)
		return 0;
	mac = view->mac_header;
	network = view->network_header;
	tail = view->tail;
	if (VLAN_WORD(view))
		goto rare;
	if (network - mac == ETH_HLEN) {
		frame = bpf_map_lookup_elem(&frames, &zero);
		if (!frame)
			return 0;
		start = view->head + mac;
		frame->base = (__u64)start;
		frame->caplen = tail > mac ? tail - mac : 0;
		bpf_probe_read_kernel(frame->bytes, wanted, start);
	} else if (mac == HEADER_UNSET && network && view->protocol) {
		frame = bpf_map_lookup_elem(&frames, &zero);
		if (!frame)
			return 0;
		start = view->head + network;
		frame->base = (__u64)start - ETH_HLEN;
		frame->caplen = ETH_HLEN + (tail > network ? tail - network : 0);
		bpf_probe_read_kernel(frame->bytes + ETH_HLEN, wanted - ETH_HLEN, start);
		*(__be16 *)(frame->bytes + 12) =
			network_protocol(view->protocol, frame->bytes[ETH_HLEN]);
	} else {
		goto rare;
	}
	goto run;
rare:
	frame = copy_rare(addr);
	if (!frame)
		return 0;
run:
	return RUN_FILTER(FILTER_CAPACITY, frame, frame);
}

#define INNER_FILTER(name)						\
static __noinline __u64 name(__u64 addr, const struct headers *h, const struct link *link) \
{									\
	struct frame *frame = copy_frame((struct sk_buff *)addr, h, link, false, &cfg.name); \
									\
	return frame ? RUN_FILTER(INNER_CAPACITY, frame, frame) : 0;	\
}

#endif

/* For all uses but the hottest. */
static __noinline __u64 pcap_filter(__u64 addr)
{
	return filter_frame(addr);
}

INNER_FILTER(inner_l2)
INNER_FILTER(inner_l3)

static __always_inline bool inner_matches(__u64 addr)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct inner inner;
	struct link link = {};
	struct headers h;

	read_headers(skb, &h);
	if (!find_inner(skb, &h, &inner))
		return false;
	if (cfg.inner_l2.on) {
		link.start = inner.l2;
		if (!inner.l2 || !inner_l2(addr, &h, &link))
			return false;
	}
	if (!cfg.inner_l3.on)
		return true;
	link.start = inner.l3 - ETH_HLEN;
	link.proto = inner.proto;
	link.made = true;
	return inner_l3(addr, &h, &link);
}

#endif
