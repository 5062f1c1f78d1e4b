/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The packet inside a tunnel's: where the kernel has marked it, else by parsing. */
#ifndef PWRU_TUNNEL_BPF_H
#define PWRU_TUNNEL_BPF_H

#define IPPROTO_IPIP 4
#define IPPROTO_IPV6 41
#define IPPROTO_GRE 47
#define PORT_VXLAN 4789       /* RFC 7348 */
#define PORT_VXLAN_LINUX 8472 /* what Linux used before there was one, and still does */
#define PORT_GENEVE 6081      /* RFC 8926 */
#define UDP_HLEN 8
#define VXLAN_HLEN 8
#define GENEVE_HLEN 8

#define GRE_CSUM bpf_htons(0x8000)
#define GRE_KEY bpf_htons(0x2000)
#define GRE_SEQ bpf_htons(0x1000)
#define GRE_ROUTING_OR_VERSION bpf_htons(0x4007)

struct inner {
	unsigned char *l2; /* NULL: the tunnel carries no Ethernet */
	unsigned char *l3;
	__be16 proto; /* of l3 */
};

static __always_inline bool inner_ethernet(struct inner *inner, unsigned char *l2)
{
	__be16 proto = read_be16(l2 + 12);

	inner->l2 = l2;
	inner->l3 = l2 + ETH_HLEN;
	inner->proto = skip_tags(proto, &inner->l3);
	return true;
}

static __always_inline bool inner_ip(struct inner *inner, unsigned char *l3)
{
	__u8 first = read_u8(l3);

	inner->l2 = NULL;
	inner->l3 = l3;
	inner->proto = bpf_htons(first >> 4 == 6 ? ETH_P_IPV6 : ETH_P_IP);
	return first >> 4 == 4 || first >> 4 == 6;
}

static __always_inline bool inner_of_type(struct inner *inner, __be16 type, unsigned char *at)
{
	if (type == bpf_htons(ETH_P_TEB))
		return inner_ethernet(inner, at);
	if (type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6))
		return inner_ip(inner, at);
	return false;
}

static __always_inline bool is_encapsulated(struct sk_buff *skb)
{
	if (TYPED_LOADS)
		return BPF_CORE_READ_BITFIELD(skb, encapsulation);
	return BPF_CORE_READ_BITFIELD_PROBED(skb, encapsulation);
}

/* skb->encapsulation: the sending side has pushed its header (and hardware may segment). */
static __always_inline bool marked_inner(struct sk_buff *skb, const struct headers *h,
					 struct inner *inner)
{
	__u16 network, mac;

	if (!is_encapsulated(skb))
		return false;
	network = FIELD(skb, inner_network_header);
	mac = FIELD(skb, inner_mac_header);
	if (network <= h->network)
		return false;
	/* A stale inner MAC header leads elsewhere. */
	if (mac > h->network && mac + ETH_HLEN <= network && inner_ethernet(inner, h->head + mac) &&
	    inner->l3 == h->head + network)
		return true;
	return inner_ip(inner, h->head + network);
}

static __always_inline bool parse_gre(struct inner *inner, unsigned char *at)
{
	__be16 head[2]; /* flags and version, type: RFC 2784, RFC 2890 */

	if (bpf_probe_read_kernel(head, sizeof(head), at) || (head[0] & GRE_ROUTING_OR_VERSION))
		return false;
	at += 4;
	at += head[0] & GRE_CSUM ? 4 : 0;
	at += head[0] & GRE_KEY ? 4 : 0;
	at += head[0] & GRE_SEQ ? 4 : 0;
	return inner_of_type(inner, head[1], at);
}

static __always_inline bool parse_udp(struct inner *inner, unsigned char *at)
{
	__u8 tunnel[4];
	__be16 dport;

	if (bpf_probe_read_kernel(&dport, sizeof(dport), at + 2) ||
	    bpf_probe_read_kernel(tunnel, sizeof(tunnel), at + UDP_HLEN))
		return false;
	at += UDP_HLEN;
	if (dport == bpf_htons(PORT_VXLAN) || dport == bpf_htons(PORT_VXLAN_LINUX))
		return (tunnel[0] & 0x08) && inner_ethernet(inner, at + VXLAN_HLEN);
	if (dport == bpf_htons(PORT_GENEVE) && !(tunnel[0] & 0xc0)) {
		__be16 type = bpf_htons(tunnel[2] << 8 | tunnel[3]);

		return inner_of_type(inner, type, at + GENEVE_HLEN + (tunnel[0] & 0x3f) * 4);
	}
	return false;
}

static __always_inline bool parse_inner(struct inner *inner, unsigned char *at, __be16 proto)
{
	__u8 ip[10], next;
	int i;

	if (bpf_probe_read_kernel(ip, sizeof(ip), at))
		return false;
	if (proto == bpf_htons(ETH_P_IP)) {
		if ((ip[6] & 0x1f) || ip[7]) /* a later fragment */
			return false;
		next = ip[9];
		at += (ip[0] & 0xf) * 4;
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		next = ip[6];
		at += 40;
#pragma unroll
		for (i = 0; i < 2; i++) { /* ip6_tunnel adds an encapsulation limit */
			if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS)
				break;
			if (bpf_probe_read_kernel(ip, 2, at))
				return false;
			next = ip[0];
			at += (ip[1] + 1) * 8;
		}
	} else {
		return false;
	}
	switch (next) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6: return inner_ip(inner, at);
	case IPPROTO_GRE: return parse_gre(inner, at);
	case IPPROTO_UDP: return parse_udp(inner, at);
	}
	return false;
}

/* False: this packet carries no other one. */
static __always_inline bool find_inner(struct sk_buff *skb, const struct headers *h,
				       struct inner *inner)
{
	struct place place;
	unsigned char *at;
	__be16 proto;

	if (marked_inner(skb, h, inner))
		return true;
	find_place(skb, h, &place);
	at = place.start;
	if (!at)
		return false;
	proto = skip_tags(place.proto, &at);
	return parse_inner(inner, at, proto);
}

#endif
