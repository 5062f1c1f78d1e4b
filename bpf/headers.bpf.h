/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reading an sk_buff: one accessor for each thing that kernels do differently. */
#ifndef PWRU_HEADERS_BPF_H
#define PWRU_HEADERS_BPF_H

const volatile struct config cfg = {};

/*
 * TYPED_LOADS: for kernels with bpf_rdonly_cast (6.2, commit a35b9af4ec2c), a plain
 * load in place of a helper call; a bad address reads as 0. Chosen when compiling: the
 * verifier is slow to take out what it finds dead.
 *
 * The structure cast to is an array of no length: of such a one the verifier allows
 * loads at any offset and of any size (btf_struct_walk() in kernel/bpf/btf.c).
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#if TYPED_LOADS
#define VIEW(ptr)                                          \
	((typeof(ptr))bpf_rdonly_cast((const void *)(ptr), \
				      bpf_core_type_id_kernel(struct bpf_raw_tracepoint_args)))
/* Of a VIEW. */
#define FIELD(view, field) ((view)->field)
#else
#define VIEW(ptr) (ptr)
#define FIELD(ptr, field)                                                \
	({                                                               \
		typeof((ptr)->field) __value;                            \
		bpf_core_read(&__value, sizeof(__value), &(ptr)->field); \
		__value;                                                 \
	})
#endif

/* n (up to 5) words of 8 bytes at any kernel address; 0 where there is nothing. */
static __always_inline void read_words(__u64 *to, const void *from, const int n)
{
	const __u64 *view = VIEW(from);

	if (!TYPED_LOADS) {
		bpf_probe_read_kernel(to, n * 8, from);
		return;
	}
	to[0] = view[0];
	if (n > 1)
		to[1] = view[1];
	if (n > 2)
		to[2] = view[2];
	if (n > 3)
		to[3] = view[3];
	if (n > 4)
		to[4] = view[4];
}

static __always_inline __be16 read_be16(const void *from)
{
	__be16 value = 0;

	if (TYPED_LOADS)
		return *(const __be16 *)VIEW(from);
	bpf_probe_read_kernel(&value, sizeof(value), from);
	return value;
}

static __always_inline __u8 read_u8(const void *from)
{
	__u8 value = 0;

	if (TYPED_LOADS)
		return *(const __u8 *)VIEW(from);
	bpf_probe_read_kernel(&value, sizeof(value), from);
	return value;
}

/* Where the packet's bytes and headers are; offsets count from head. */
struct headers {
	unsigned char *head;
	__u32 tail;
	__u16 network; /* 0: not set */
	__u16 mac;     /* HEADER_UNSET: not set */
	__be16 protocol;
	__be16 vlan_proto;
	__u16 vlan_tci;
	bool tagged; /* vlan_proto and vlan_tci hold a tag of the frame */
};

#define OFFSET(field) bpf_core_field_offset(struct sk_buff, field)

static __always_inline bool has_tag(struct sk_buff *skb, const struct headers *h)
{
	struct sk_buff___vlan_present *old = (void *)skb;

	if (!h->vlan_proto && !h->vlan_tci)
		return false;
	if (TYPED_LOADS || !bpf_core_field_exists(old->vlan_present))
		return true;
	return BPF_CORE_READ_BITFIELD_PROBED(old, vlan_present);
}

/*
 * Where the fields lie as on every kernel so far (cfg.adjacent: Python has looked), a few
 * words hold them all: vlan_proto, vlan_tci | protocol, transport_header, network_header,
 * mac_header | tail | head.
 */
#define VLAN_WORD(view) (*(const __u32 *)((const void *)(view) + OFFSET(vlan_proto)))
/* network_header, mac_header | tail: one load, not aligned, tells whether a packet has a header. */
#define PLACES_WORD(view) (*(const __u64 *)((const void *)(view) + OFFSET(network_header)))
#define HEADERS_WORD(view) (*(const __u64 *)((const void *)(view) + OFFSET(protocol)))

/*
 * Without typed loads: the 8-byte words from that of the field `from` to that of the field
 * `to`, copied, and where the sk_buff would have to begin for its fields to be read there.
 * An error leaves zeros. That span has the room is what cfg.adjacent says, too.
 */
#define SPAN_FIRST(from) (OFFSET(from) & ~7ULL) /* aligned as on the stack */
#define READ_SPAN(skb, from, to, span)                                                 \
	bpf_probe_read_kernel(span, OFFSET(to) + sizeof((skb)->to) - SPAN_FIRST(from), \
			      (const void *)(skb) + SPAN_FIRST(from))
#define SPAN_VIEW(span, from)                                                                       \
	({                                                                                          \
		__s64 __back = 0;                                                                   \
                                                                                                    \
		/* The verifier lets us add to a stack pointer, not subtract, and cannot negate. */ \
		asm volatile("%0 -= %1" : "+r"(__back) : "r"(SPAN_FIRST(from)));                    \
		(const struct sk_buff *)((const void *)(span) + __back);                            \
	})
#define HEADERS_SPAN 8 /* words from vlan_proto to head: 40 to 60 bytes */
#define DEV_SPAN 4     /* from dev to sk */
#define SPAN_BEFORE 8  /* the view begins there: 7.3 takes no pointer before a map's value */
#define SKB_SPAN 26    /* from dev over mark and protocol to users: some 200 bytes */

/* A field of the sk_buff, from its view where it has one. */
#define VIEWED(skb, view, field) (TYPED_LOADS || cfg.adjacent ? (view)->field : FIELD(skb, field))

/* view: a VIEW, or a SPAN_VIEW. */
static __always_inline void take_adjacent(const struct sk_buff *view, struct headers *h)
{
	__u32 vlan = VLAN_WORD(view);

	h->vlan_proto = vlan;
	h->vlan_tci = vlan >> 16;
	if (TYPED_LOADS) {
		__u64 word = HEADERS_WORD(view);

		h->protocol = word;
		h->network = word >> 32;
		h->mac = word >> 48;
	} else {
		h->protocol = view->protocol;
		h->network = view->network_header;
		h->mac = view->mac_header;
	}
	h->tail = view->tail;
	h->head = view->head;
}

static __always_inline void read_adjacent(const struct sk_buff *skb, struct headers *h)
{
	__u64 span[HEADERS_SPAN];

	if (!TYPED_LOADS) {
		READ_SPAN(skb, vlan_proto, head, span);
		skb = SPAN_VIEW(span, vlan_proto);
	}
	take_adjacent(skb, h);
}

static __always_inline void read_headers(struct sk_buff *skb, struct headers *h)
{
	if (cfg.adjacent) {
		read_adjacent(skb, h);
	} else {
		h->head = FIELD(skb, head);
		h->tail = FIELD(skb, tail);
		h->network = FIELD(skb, network_header);
		h->mac = FIELD(skb, mac_header);
		h->protocol = FIELD(skb, protocol);
		h->vlan_proto = FIELD(skb, vlan_proto);
		h->vlan_tci = FIELD(skb, vlan_tci);
	}
	h->tagged = has_tag(skb, h);
}

/* Devices whose frames begin with an Ethernet header. */
static __always_inline bool is_ethernet(struct sk_buff *skb)
{
	struct net_device *dev = FIELD(skb, dev);
	__u16 type;

	if (!dev)
		return false;
	dev = VIEW(dev);
	type = FIELD(dev, type);
	return type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK;
}

static __always_inline bool is_tag(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/*
 * Do tags fill the gap between an Ethernet header and the network header? It is as wide where
 * the IP header has moved behind one that is gone: ESP, IPComp, a popped MPLS label leave the
 * old frame's bytes before it. So each EtherType must say what comes next.
 */
static __always_inline bool tags_fill(const struct headers *h, __u32 gap)
{
	const void *types = h->head + h->mac + ETH_HLEN - 2;
	__be16 first = read_be16(types), last;

	if (!is_tag(first))
		return false;
	last = read_be16(types + VLAN_HLEN);
	if (gap == ETH_HLEN + 2 * VLAN_HLEN) {
		if (!is_tag(last))
			return false;
		last = read_be16(types + 2 * VLAN_HLEN);
	}
	return h->protocol == last || h->protocol == first;
}

/*
 * Is there an Ethernet header at h->mac that belongs to the network header?
 * Stale ones (a forwarded packet pushed into a tunnel) lie elsewhere.
 */
static __always_inline bool has_link_header(struct sk_buff *skb, const struct headers *h)
{
	__u32 gap = (__u32)h->network - h->mac;

	if (h->network && gap == ETH_HLEN)
		return true;
	if (h->mac == HEADER_UNSET)
		return false;
	if (h->network)
		return (gap == ETH_HLEN + VLAN_HLEN || gap == ETH_HLEN + 2 * VLAN_HLEN) &&
		       tags_fill(h, gap);
	return is_ethernet(skb);
}

/*
 * Does skb->protocol say that the network header is written? __ip6_append_data() sets it long
 * before: of a packet that has no link header yet, for IPv6 the route must tell.
 */
static __always_inline bool protocol_tells(__be16 protocol, __u16 mac)
{
	return protocol && (protocol != bpf_htons(ETH_P_IPV6) || mac != HEADER_UNSET);
}

/*
 * Is there something at the network header? ip_append_data() places it long
 * before __ip_make_skb() fills it in: until then the memory still holds some
 * earlier packet. Whoever fills it in sets skb->protocol or the route.
 */
static __always_inline bool has_network_header(struct sk_buff *skb, const struct headers *h)
{
	return h->network && (protocol_tells(h->protocol, h->mac) || FIELD(skb, _skb_refdst));
}

/*
 * Can these be the first eight bytes of an ARP packet for IPv4 (RFC 826)? arp_create() sets
 * skb->protocol and makes the link header before it writes them.
 */
static __always_inline bool is_arp(__u64 words)
{
	__u16 hardware = bpf_ntohs((__be16)words), operation = bpf_ntohs((__be16)(words >> 48));

	return (__be16)(words >> 16) == bpf_htons(ETH_P_IP) && (words >> 40 & 0xff) == 4 &&
	       hardware && operation && operation <= ARP_OPERATION_MAX;
}

/*
 * What follows, by the first byte of the network header. The kernel sets
 * skb->protocol late on the way out and keeps the inner one while a tunnel
 * pushes its header: the version in the header decides between the two IPs.
 */
static __always_inline __be16 network_protocol(__be16 protocol, __u8 first)
{
	if (protocol && protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return protocol;
	if (first >> 4 == 4)
		return bpf_htons(ETH_P_IP);
	if (first >> 4 == 6)
		return bpf_htons(ETH_P_IPV6);
	return protocol;
}

/* Steps over tags that are in the packet's bytes; *at moves to what follows them. */
static __always_inline __be16 skip_tags(__be16 proto, unsigned char **at)
{
	int i;

#pragma unroll
	for (i = 0; i < 2; i++) {
		if (!is_tag(proto))
			break;
		proto = read_be16(*at + 2);
		*at += VLAN_HLEN;
	}
	return proto;
}

/*
 * Where what follows the link header is. The filter finds that on its way, if it is run.
 *
 * Before 6.8 (commit 41f6f64e6999) the verifier may take a constant that is stored at a multiple of
 * 8 bytes, and read by another function through a pointer, for all that is ever there, and cuts out
 * the branches of other values. It knows nothing of what is stored elsewhere: so what may be a
 * constant and is branched on, the EtherType, comes second. A null pointer is told apart.
 */
struct place {
	unsigned char *start; /* NULL: not known, or nowhere yet */
	unsigned char *end;   /* of the linear memory */
	const void *copy;     /* COPIED bytes from start on; NULL: none */
	__be16 protocol;      /* skb->protocol */
	__be16 proto;         /* EtherType of it */
};
#define COPIED 40

static __always_inline void find_place(struct sk_buff *skb, const struct headers *h,
				       struct place *place)
{
	place->end = h->head + h->tail;
	place->copy = NULL;
	if (has_link_header(skb, h)) {
		place->start = h->head + h->mac + ETH_HLEN;
		place->proto = read_be16(place->start - 2);
	} else if (has_network_header(skb, h)) {
		place->start = h->head + h->network;
		place->proto = h->protocol;
		if (h->tail > h->network)
			place->proto = network_protocol(h->protocol, read_u8(place->start));
	} else {
		place->start = NULL;
	}
}

#endif
