/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The frame that tcpdump would have captured, and the pcap filter run on it. */
#ifndef PWRU_FILTER_BPF_H
#define PWRU_FILTER_BPF_H

/* Frames that are copied; see alone.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
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
 * FILTER_STUB has nothing in common with C but registers: filters/pwru_filters/frame.py.
 */
#define STRING(x) STRING_(x)
#define STRING_(x) #x
#define FILTER_STUB(capacity)  \
	"r0 = 0\n"             \
	"if r0 == 0 goto +0\n" \
	".fill " STRING(capacity) ", 8, 5\n" /* goto +0 */

#if TYPED_LOADS

/* near and proto, variables of 64 bits, outlive it. */
#define RUN_FILTER_HERE(capacity, frame, near, packet, proto)                                \
	({                                                                                   \
		register const void *__frame asm("r1") = (frame);                            \
		register __u64 __near asm("r6") = (near);                                    \
		register const void *__packet asm("r7") = (packet);                          \
		register __u64 __proto asm("r8") = (proto);                                  \
		register __u64 __verdict asm("r0");                                          \
                                                                                             \
		asm volatile(FILTER_STUB(capacity)                                           \
			     : "=r"(__verdict), "+r"(__frame), "+r"(__near), "+r"(__packet), \
			       "+r"(__proto)                                                 \
			     :                                                               \
			     : "r2", "r3", "r4", "r5", "r9", "memory");                      \
		(near) = __near;                                                             \
		(proto) = __proto;                                                           \
		__verdict;                                                                   \
	})

#define RUN_FILTER(capacity, frame)                                                              \
	({                                                                                       \
		const struct frame *__found = (frame);                                           \
		__u64 __at = __found->near, __type = *(__be16 *)(__found->bytes + ETH_HLEN - 2); \
                                                                                                 \
		RUN_FILTER_HERE(capacity, __found, __at, VIEW((const void *)__at), __type);      \
	})

#else

#define RUN_FILTER(capacity, frame)                                                       \
	({                                                                                \
		register const void *__frame asm("r1") = (frame);                         \
		register __u64 __verdict asm("r0");                                       \
                                                                                          \
		asm volatile(FILTER_STUB(capacity)                                        \
			     : "=r"(__verdict), "+r"(__frame)                             \
			     :                                                            \
			     : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory"); \
		__verdict;                                                                \
	})

#endif

/*
 * A program that calls or has variables in memory uses the stack below r10, and needs a
 * function that has nothing there.
 */
#define FILTER_FUNCTION(name, capacity)                         \
	static __noinline __u64 name(const struct frame *frame) \
	{                                                       \
		return RUN_FILTER(capacity, frame);             \
	}

FILTER_FUNCTION(run_filter, FILTER_CAPACITY)
FILTER_FUNCTION(run_inner_l2, INNER_CAPACITY)
FILTER_FUNCTION(run_inner_l3, INNER_CAPACITY)

/* Where a frame begins, and what of it is nowhere in memory. In this order: see struct place. */
struct link {
	unsigned char *start; /* byte i >= ETH_HLEN of the frame is at start + i */
	bool bare;            /* made, and nothing behind it is written yet */
	bool made;            /* no link header there: zero addresses and proto stand in */
	__be16 proto;         /* of the header at start + ETH_HLEN; 0: its version says */
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
	if (h->protocol == bpf_htons(ETH_P_ARP)) {
		__u64 words;

		read_words(&words, h->head + h->network, 1);
		link->bare = !is_arp(words);
	}
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

	if (link->bare)
		return ETH_HLEN;
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
static __always_inline struct frame *copy_frame(const struct headers *h, const struct link *link,
						bool tagged, const volatile struct needs *needs,
						__u32 slot)
{
	struct frame *frame = bpf_map_lookup_elem(&frames, &slot);
	__u32 wanted = needs->bytes, done = 12;

	if (!frame)
		return NULL;
	frame->base = (__u64)link->start;
	frame->caplen = captured(h, link);
	if (tagged) {
		frame->base -= VLAN_HLEN;
		frame->caplen += VLAN_HLEN;
	}
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
			link_protocol(link, captured(h, link), frame->bytes[done + 2]);
	return frame;
}

#if TYPED_LOADS

/*
 * The frame stays where it is; what may be nowhere in memory, of its first bytes, is put
 * into the buffer. Only a tag from the metadata, which shifts all behind it, takes a copy.
 */
static __always_inline struct frame *view_frame(const struct headers *h, const struct link *link,
						bool tagged, const volatile struct needs *needs,
						__u32 slot)
{
	const void *packet = VIEW((const void *)link->start);
	__be16 proto = *(const __be16 *)(packet + ETH_HLEN - 2);
	struct frame *frame;

	if (tagged) {
		frame = copy_frame(h, link, true, needs, slot);
		if (frame)
			frame->near = (__u64)frame->bytes;
		return frame;
	}
	frame = bpf_map_lookup_elem(&frames, &slot);
	if (!frame)
		return NULL;
	frame->base = frame->near = (__u64)link->start;
	frame->caplen = captured(h, link);
	if (needs->link) {
		read_words((__u64 *)frame->bytes, (const void *)link->start, 3);
		if (link->made)
			__builtin_memset(frame->bytes, 0, 12);
	}
	if (link->made)
		proto = link_protocol(link, frame->caplen, *(const __u8 *)(packet + ETH_HLEN));
	*(__be16 *)(frame->bytes + ETH_HLEN - 2) = proto;
	return frame;
}

#endif

/* The frame in the buffer as far as it is linear, without its length. */
static __always_inline struct frame *linear_frame(const struct headers *h, const struct link *link,
						  bool tagged, const volatile struct needs *needs,
						  __u32 slot)
{
#if TYPED_LOADS
	return view_frame(h, link, tagged, needs, slot);
#else
	return copy_frame(h, link, tagged, needs, slot);
#endif
}

/* The frame in the buffer, whole or in part; near is a VIEW of it with typed loads. */
static __always_inline struct frame *find_frame(__u64 addr, const struct headers *h,
						const struct link *link, bool tagged,
						const volatile struct needs *needs, __u32 slot)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct frame *frame;
	bool gather = cfg.pages && (needs->payload || h->tail <= h->network) &&
		      FIELD(skb, data_len);

	if (gather)
		frame = copy_frame(h, link, tagged, needs, slot);
	else
		frame = linear_frame(h, link, tagged, needs, slot);
	if (!frame)
		return NULL;
	if (needs->length)
		frame->len = whole_length(skb, link) + (tagged ? VLAN_HLEN : 0);
	if (gather)
		gather_frame(skb, h, frame);
	return frame;
}

#define RUN_IN_BUFFER(run, found)                              \
	({                                                     \
		const struct frame *__found = (found);         \
		__u64 __verdict = 0;                           \
                                                               \
		if (__found)                                   \
			__verdict = run(__found);              \
		__verdict && __found->caplen + 1 >= __verdict; \
	})

/* Any frame, any filter. Not static: so the verifier walks it once, and not once for each call. */
__noinline __u64 pcap_filter(__u64 addr, __u32 slot)
{
	struct link link = {};
	struct headers h;

	read_headers(VIEW((struct sk_buff *)addr), &h);
	if (!find_link(VIEW((struct sk_buff *)addr), &h, &link))
		return 0;
	return RUN_IN_BUFFER(run_filter, find_frame(addr, &h, &link, h.tagged, &cfg.filter, slot));
}

static __noinline __u64 inner_l2(__u64 addr, const struct headers *h, const struct link *link,
				 __u32 slot)
{
	return RUN_IN_BUFFER(run_inner_l2, find_frame(addr, h, link, false, &cfg.inner_l2, slot));
}

static __noinline __u64 inner_l3(__u64 addr, const struct headers *h, const struct link *link,
				 __u32 slot)
{
	return RUN_IN_BUFFER(run_inner_l3, find_frame(addr, h, link, false, &cfg.inner_l3, slot));
}

enum verdict {
	REJECT,
	MATCH,
	FOLLOWED,
	UNTAGGED, /* a match unless the frame has a tag: then pcap_filter() decides */
};

/* Of a packet without a link header: is it IPv4, as nearly all are, beyond doubt? */
static __always_inline bool surely_ipv4(__be16 protocol, __u8 first)
{
	return protocol == bpf_htons(ETH_P_IP) && first >> 4 == 4;
}

/* Is it IP for filter_hot()? For the others find_link() decides what of them is written. */
static __always_inline bool may_be_ip(__be16 protocol)
{
	return !protocol || protocol == bpf_htons(ETH_P_IP) || protocol == bpf_htons(ETH_P_IPV6);
}

static __always_inline __u64 filter_cold(__u64 addr, struct place *place)
{
	__u64 verdict;

	place->start = NULL;
	if (!begin_alone())
		return REJECT;
	verdict = pcap_filter(addr, SLOT_FUNCTION);
	end_alone();
	return verdict;
}

/* Of a frame that matches, unless the tag that it turns out to have matters. */
static __always_inline __u64 filter_tagged(__u64 addr, struct place *place)
{
	__u64 verdict = filter_cold(addr, place);

	if (!verdict)
		count(COUNT_TAGGED);
	return verdict;
}

/*
 * The hottest code there is. Most frames have a real link header just in front of the
 * network header, or none yet, and no tag; most filters look at nothing but headers, leave
 * checks to the verdict, and match no tagged frame: for them, whether there is a tag is asked
 * after a match (where packets are copied by emit(), which has it at hand).
 *
 * place: set on a match. tag: whether tagged frames may match. flat: the filter loads from no
 * place that varies, and not from behind FLAT_MAX.
 */
#if TYPED_LOADS

static __always_inline __u64 filter_hot(__u64 addr, struct place *place, const bool tag,
					const bool flat)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	__u64 word, mac, network, tail, start, proto, verdict;
	__s64 length;
	const void *packet, *frame;
	__u8 first;

	word = PLACES_WORD(skb);
	network = word & 0xffff;
	mac = word << 32 >> 48;
	tail = word >> 32;
	if (tag && VLAN_WORD(skb))
		goto cold;
	if (tail <= network)
		goto cold; /* nothing there, or in pages alone */
	if (network - mac == ETH_HLEN) {
		start = (__u64)FIELD(skb, head) + mac;
		packet = VIEW((const void *)start);
		proto = *(const __be16 *)(packet + ETH_HLEN - 2);
	} else if (mac == HEADER_UNSET && network) {
		start = (__u64)FIELD(skb, head) + network - ETH_HLEN;
		packet = VIEW((const void *)start);
		proto = FIELD(skb, protocol);
		first = *(const __u8 *)(packet + ETH_HLEN);
		if (!surely_ipv4(proto, first)) {
			if (!may_be_ip(proto))
				goto cold;
			if (!protocol_tells(proto, HEADER_UNSET) && !FIELD(skb, _skb_refdst))
				return REJECT;
			proto = network_protocol(proto, first);
		}
	} else if (mac == HEADER_UNSET) {
		return REJECT; /* no header yet */
	} else {
		goto cold;
	}
	asm volatile("" : "=r"(frame)); /* such a filter looks into none */
	verdict = RUN_FILTER_HERE(FILTER_CAPACITY, frame, start, packet, proto);
	if (!verdict)
		return 0;
	skb = VIEW((struct sk_buff *)addr);
	if (!tag && VLAN_WORD(skb))
		return filter_tagged(addr, place);
	word = HEADERS_WORD(skb);
	network = word << 16 >> 48;
	length = (__s64)FIELD(skb, tail) - network + ETH_HLEN;
	place->start = (unsigned char *)start + ETH_HLEN;
	place->end = (unsigned char *)start + length;
	place->proto = proto;
	place->protocol = word;
	return length + 1 >= (__s64)verdict ? MATCH : REJECT;
cold: /* in one place: the verifier walks what is called once for each call */
	return filter_cold(addr, place);
}

#else

#define FLAT_MAX 64  /* filters/pwru_filters/frame.py */
#define FLAT_FIRST 8 /* of the frame, to be copied: whole words, and with the EtherType */

/*
 * A read that fails leaves zeros, which lead to filter_cold() or do not match. Where a packet is
 * cut, the filter may see what lies behind it, but the verdict says how far it has looked.
 */
static __always_inline __u64 filter_hot(__u64 addr, struct place *place, const bool tag,
					const bool flat)
{
	__u64 span[HEADERS_SPAN], room[(offsetof(struct frame, bytes) + FLAT_MAX) / 8];
	struct sk_buff *skb = (struct sk_buff *)addr;
	struct frame *frame = (struct frame *)room;
	__u32 zero = 0, wanted = cfg.filter.bytes;
	__u64 mac, network, verdict;
	const struct sk_buff *view;
	unsigned char *start;
	__s64 length;
	__be16 proto;

	if (tag) {
		READ_SPAN(skb, vlan_proto, head, span);
		view = SPAN_VIEW(span, vlan_proto);
		if (VLAN_WORD(view))
			goto cold;
	} else {
		READ_SPAN(skb, protocol, head, span);
		view = SPAN_VIEW(span, protocol);
	}
	mac = view->mac_header;
	network = view->network_header;
	if (view->tail <= network)
		goto cold; /* nothing there, or in pages alone */
	if (!flat) {
		frame = bpf_map_lookup_elem(&frames, &zero);
		if (!frame)
			return REJECT;
	}
	if (network - mac == ETH_HLEN) {
		start = view->head + mac;
		frame->base = (__u64)start;
		bpf_probe_read_kernel(frame->bytes + FLAT_FIRST, wanted - FLAT_FIRST,
				      start + FLAT_FIRST);
	} else if (mac == HEADER_UNSET && network) {
		start = view->head + network - ETH_HLEN;
		frame->base = (__u64)start;
		bpf_probe_read_kernel(frame->bytes + ETH_HLEN, wanted - ETH_HLEN, start + ETH_HLEN);
		proto = view->protocol;
		if (!surely_ipv4(proto, frame->bytes[ETH_HLEN])) {
			if (!may_be_ip(proto))
				goto cold;
			if (!protocol_tells(proto, HEADER_UNSET) && !FIELD(skb, _skb_refdst))
				return REJECT;
			proto = network_protocol(proto, frame->bytes[ETH_HLEN]);
		}
		*(__be16 *)(frame->bytes + 12) = proto;
	} else if (mac == HEADER_UNSET) {
		return REJECT; /* no header yet */
	} else {
		goto cold;
	}
	verdict = RUN_FILTER(FILTER_CAPACITY, frame);
	if (!verdict)
		return REJECT;
	/* Looked up again: a rejection keeps nothing for this. */
	view = tag ? SPAN_VIEW(span, vlan_proto) : SPAN_VIEW(span, protocol);
	wanted = cfg.filter.bytes;
	start = (unsigned char *)frame->base + ETH_HLEN;
	length = (__s64)view->tail - (start - view->head);
	place->start = start;
	place->end = start + length;
	place->proto = *(__be16 *)(frame->bytes + 12);
	place->protocol = view->protocol;
	place->copy = NULL;
	if (!flat && wanted >= ETH_HLEN + COPIED) /* the stack wants it aligned */
		place->copy = frame->bytes + ETH_HLEN;
	if (length + ETH_HLEN + 1 < (__s64)verdict)
		return REJECT;
	return tag ? MATCH : UNTAGGED;
cold:
	return filter_cold(addr, place);
}

#endif

static __always_inline bool inner_matches(__u64 addr, __u32 slot)
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
		if (!inner.l2 || !inner_l2(addr, &h, &link, slot))
			return false;
	}
	if (!cfg.inner_l3.on)
		return true;
	link.start = inner.l3 - ETH_HLEN;
	link.proto = inner.proto;
	link.made = true;
	return inner_l3(addr, &h, &link, slot);
}

#endif
