/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reading an sk_buff: one accessor for each thing that kernels do differently. */
#ifndef PWRU_HEADERS_BPF_H
#define PWRU_HEADERS_BPF_H

const volatile struct config cfg = {};

/*
 * TYPED_LOADS: for kernels with bpf_rdonly_cast (6.2, commit a35b9af4ec2c), a plain
 * load in place of a helper call. Chosen when compiling: the verifier is slow
 * to take out what it finds dead.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define TYPED(ptr)							\
	((typeof(ptr))bpf_rdonly_cast(ptr, bpf_core_type_id_kernel(typeof(*(ptr)))))

#define FIELD(ptr, field) ({						\
	typeof((ptr)->field) __value;					\
	if (TYPED_LOADS)						\
		__value = TYPED(ptr)->field;				\
	else								\
		bpf_core_read(&__value, sizeof(__value), &(ptr)->field);\
	__value;							\
})

/* Where the packet's bytes and headers are; offsets count from head. */
struct headers {
	unsigned char *head;
	unsigned char *data;
	__u32 tail;
	__u16 network;		/* 0: not set */
	__u16 mac;		/* HEADER_UNSET: not set */
	__be16 protocol;
	__be16 vlan_proto;
	__u16 vlan_tci;
	bool tagged;		/* vlan_proto and vlan_tci hold a tag of the frame */
};

#define OFFSET(field) bpf_core_field_offset(struct sk_buff, field)
#define HEADERS_SPAN 96

static __always_inline bool has_tag(struct sk_buff *skb, const struct headers *h)
{
	struct sk_buff___vlan_present *old = (void *)skb;

	if (!h->vlan_proto && !h->vlan_tci)
		return false;
	if (!bpf_core_field_exists(old->vlan_present))
		return true;
	return BPF_CORE_READ_BITFIELD_PROBED(old, vlan_present);
}

#define TAKE(to, field)							\
	__builtin_memcpy(&(to), span + (OFFSET(field) - first), sizeof(to))

/*
 * Without typed loads: the fields lie within some 60 bytes of each other on
 * every kernel so far (group "headers" of struct sk_buff up to data), so one
 * read fetches them all; where they do not, one read each.
 */
static __always_inline void read_headers_span(struct sk_buff *skb, struct headers *h)
{
	const __u32 first = OFFSET(vlan_proto);
	const __u32 size = OFFSET(data) + sizeof(h->data) - first;
	__u8 span[HEADERS_SPAN] __attribute__((aligned(8)));

	if (bpf_probe_read_kernel(span, size, (void *)skb + first)) {
		__builtin_memset(h, 0, sizeof(*h));
		return;
	}
	TAKE(h->head, head);
	TAKE(h->data, data);
	TAKE(h->tail, tail);
	TAKE(h->network, network_header);
	TAKE(h->mac, mac_header);
	TAKE(h->protocol, protocol);
	TAKE(h->vlan_proto, vlan_proto);
	TAKE(h->vlan_tci, vlan_tci);
}

static __always_inline bool span_fits(void)
{
	return OFFSET(vlan_proto) < OFFSET(vlan_tci) &&
	       OFFSET(vlan_tci) < OFFSET(protocol) &&
	       OFFSET(protocol) < OFFSET(network_header) &&
	       OFFSET(network_header) < OFFSET(mac_header) &&
	       OFFSET(mac_header) < OFFSET(tail) &&
	       OFFSET(tail) < OFFSET(head) &&
	       OFFSET(head) < OFFSET(data) &&
	       OFFSET(data) + sizeof(void *) - OFFSET(vlan_proto) <= HEADERS_SPAN;
}

static __always_inline void read_headers(struct sk_buff *skb, struct headers *h)
{
	if (!TYPED_LOADS && span_fits()) {
		read_headers_span(skb, h);
	} else {
		h->head = FIELD(skb, head);
		h->data = FIELD(skb, data);
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
	type = FIELD(dev, type);
	return type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK;
}

/*
 * Is there an Ethernet header at h->mac that belongs to the network header?
 * Stale ones (a forwarded packet pushed into a tunnel) lie elsewhere.
 */
static __always_inline bool has_link_header(struct sk_buff *skb, const struct headers *h)
{
	__u32 gap = (__u32)h->network - h->mac;

	if (h->mac == HEADER_UNSET)
		return false;
	if (h->network)
		return gap == ETH_HLEN || gap == ETH_HLEN + VLAN_HLEN ||
		       gap == ETH_HLEN + 2 * VLAN_HLEN;
	return is_ethernet(skb);
}

/*
 * Is there something at the network header? ip_append_data() places it long
 * before __ip_make_skb() fills it in: until then the memory still holds some
 * earlier packet. Whoever fills it in sets skb->protocol or the route.
 */
static __always_inline bool has_network_header(struct sk_buff *skb, const struct headers *h)
{
	return h->network && (h->protocol || FIELD(skb, _skb_refdst));
}

/*
 * The kernel sets skb->protocol late on the way out and keeps the inner one
 * while a tunnel pushes its header: the version in the header itself decides
 * between the two IPs.
 */
static __always_inline __be16 network_protocol(const struct headers *h)
{
	__u8 first = 0;

	if (h->protocol && h->protocol != bpf_htons(ETH_P_IP) &&
	    h->protocol != bpf_htons(ETH_P_IPV6))
		return h->protocol;
	bpf_probe_read_kernel(&first, sizeof(first), h->head + h->network);
	if (first >> 4 == 4)
		return bpf_htons(ETH_P_IP);
	if (first >> 4 == 6)
		return bpf_htons(ETH_P_IPV6);
	return h->protocol;
}

/* Steps over tags that are in the packet's bytes; *at moves to what follows them. */
static __always_inline __be16 skip_tags(__be16 proto, unsigned char **at)
{
	int i;

#pragma unroll
	for (i = 0; i < 2; i++) {
		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		bpf_probe_read_kernel(&proto, sizeof(proto), *at + 2);
		*at += VLAN_HLEN;
	}
	return proto;
}

/* The network header, behind all tags, and its protocol; NULL when there is none yet. */
static __always_inline unsigned char *network_start(struct sk_buff *skb, const struct headers *h,
						    __be16 *proto)
{
	unsigned char *at;

	if (has_link_header(skb, h)) {
		at = h->head + h->mac + ETH_HLEN;
		bpf_probe_read_kernel(proto, sizeof(*proto), at - 2);
	} else if (has_network_header(skb, h)) {
		at = h->head + h->network;
		*proto = network_protocol(h);
	} else {
		return NULL;
	}
	*proto = skip_tags(*proto, &at);
	return at;
}

#endif
