/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses and ports of a packet that matched. */
#ifndef PWRU_PACKET_BPF_H
#define PWRU_PACKET_BPF_H

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_AH 51
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60
#define IPPROTO_SCTP 132
#define IPPROTO_UDPLITE 136
#define IPV6_EXTENSIONS_MAX 6 /* walked; a chain of more shows no ids */

/* Where a record has a section, if this session's have it. */
#define HAS_SECTION(section) (cfg.section_at[section])
#define SECTION(ev, section) ((void *)(ev) + cfg.section_at[section])

static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_UDPLITE || proto == IPPROTO_DCCP;
}

static __always_inline bool is_icmp(const struct event_tuple *t)
{
	return t->l4 == (t->l3 == L3_IPV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

/* Echo, timestamp, information, address mask (RFC 792, RFC 950); echo (RFC 4443). */
static __always_inline bool icmp_has_id(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMPV6)
		return type == 128 || type == 129;
	return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

/*
 * The MTU that a packet did not fit, if the message is about that (RFC 1191, RFC 4443): its last 4
 * bytes, in IPv4 2.
 */
static __always_inline __u32 icmp_mtu(__u8 proto, __u64 message)
{
	if (proto == IPPROTO_ICMPV6)
		return (__u8)message == 2 ? message >> 32 : 0;
	return (__u8)message == 3 && (__u8)(message >> 8) == 4 ? message >> 48 << 16 : 0;
}

/* What stands behind the IP headers; words: its first 16 bytes, of which room are the packet's. */
static __always_inline void take_ids(struct event *ev, const __u64 *words, __s64 room)
{
	struct event_tuple *t = &ev->tuple;

	if (has_ports(t->l4) && room >= 4) {
		*(__u32 *)&t->sport = words[0]; /* sport and dport */
		t->ids = IDS_PORTS;
	} else if (is_icmp(t) && room >= 8) {
		t->icmp_type = words[0];
		t->ids = IDS_ICMP;
		if (icmp_has_id(t->l4, t->icmp_type)) {
			t->ids = IDS_ICMP_ECHO;
			*(__u32 *)&t->sport = words[0] >> 32; /* identifier, sequence */
		} else {
			*(__u32 *)&t->sport = icmp_mtu(t->l4, words[0]);
		}
	}
	if (HAS_SECTION(SECTION_UDP) && t->l4 == IPPROTO_UDP)
		*(__u64 *)SECTION(ev, SECTION_UDP) = room >= 16 ? words[1] : 0;
	if (t->l4 == IPPROTO_TCP && room >= 14)
		ev->tcp_flags = words[1] >> 40;
}

static __always_inline void read_ids(struct event *ev, unsigned char *at, unsigned char *end)
{
	__u64 words[2];

	read_words(words, at, 2);
	take_ids(ev, words, end - at);
}

/* copy: as in struct place. */
static __always_inline void read_ipv4(struct event *ev, unsigned char *at, unsigned char *end,
				      const __u64 *copy)
{
	__u64 words[5];

	if (at + 20 > end)
		return;
	if (!TYPED_LOADS && copy)
		__builtin_memcpy(words, copy, COPIED);
	else
		read_words(words, at, TYPED_LOADS ? 3 : 5);
	if ((words[0] >> 4 & 0xf) != 4 || (words[0] & 0xf) < 5)
		return;
	ev->tuple.l3 = L3_IPV4;
	ev->tuple.l4 = words[1] >> 8;
	*(__u32 *)ev->tuple.saddr = words[1] >> 32;
	*(__u32 *)ev->tuple.daddr = words[2];
	if (words[0] >> 48 & bpf_htons(0x1fff)) { /* a later fragment carries no ports */
		ev->tuple.ids = IDS_FRAGMENT;
		return;
	}
	if ((words[0] & 0xf) != 5)
		return read_ids(ev, at + (words[0] & 0xf) * 4, end);
	/* Without options, what follows has come with the header, or the ports at least. */
	if (TYPED_LOADS)
		words[3] = words[4] = 0;
	if (TYPED_LOADS && (ev->tuple.l4 != IPPROTO_UDP || HAS_SECTION(SECTION_UDP))) {
		read_words(words + 3, at + 24, 1);
		if (ev->tuple.l4 == IPPROTO_TCP || HAS_SECTION(SECTION_UDP))
			read_words(words + 4, at + 32, 1);
	}
	words[0] = words[2] >> 32 | words[3] << 32;
	words[1] = words[3] >> 32 | words[4] << 32;
	take_ids(ev, words, end - at - 20);
}

static __always_inline void read_ipv6(struct event *ev, unsigned char *at, unsigned char *end)
{
	__u64 ip6[5];
	__u8 next, ext[8];
	int i;

	if (at + 40 > end)
		return;
	read_words(ip6, at, 5);
	if ((ip6[0] >> 4 & 0xf) != 6)
		return;
	__builtin_memcpy(ev->tuple.saddr, ip6 + 1, 32); /* and daddr */
	ev->tuple.l3 = L3_IPV6;
	next = ip6[0] >> 48;
	at += 40;
#pragma unroll
	for (i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
			break;
		if (at + 8 > end)
			break;
		read_words((__u64 *)ext, at, 1);
		if (next == IPPROTO_FRAGMENT) {
			next = ext[0];
			if (ext[2] || (ext[3] & 0xf8)) { /* not the first one */
				ev->tuple.l4 = next;
				ev->tuple.ids = IDS_FRAGMENT;
				return;
			}
			at += 8;
		} else {
			at += next == IPPROTO_AH ? (ext[1] + 2) * 4 : (ext[1] + 1) * 8;
			next = ext[0];
		}
	}
	ev->tuple.l4 = next;
	read_ids(ev, at, end);
}

/* RFC 826 for IPv4 over Ethernet: 8 bytes, then sha spa tha tpa. */
static __always_inline void read_arp(struct event *ev, unsigned char *at, unsigned char *end)
{
	__u64 words[2];

	if (at + 28 > end)
		return;
	read_words(words, at, 1);
	if (!is_arp(words[0]))
		return;
	ev->tuple.l3 = L3_ARP;
	ev->tuple.icmp_type = words[0] >> 56; /* the operation's low byte: the others are 0 */
	read_words(words, at + 12, 2);
	*(__u32 *)ev->tuple.saddr = words[0] >> 16;
	*(__u32 *)ev->tuple.daddr = words[1] >> 32;
}

#define PPPOE_HLEN 6 /* RFC 2516 */
#define PPP_HLEN 2   /* the protocol's number, not compressed */
#define PPP_IP bpf_htons(0x0021)
#define PPP_IPV6 bpf_htons(0x0057)

/* What is within a PPPoE session; *at moves to it. 0: no IP, and the session is all there is. */
static __always_inline __be16 enter_pppoe(struct event *ev, unsigned char **at, unsigned char *end)
{
	__u64 words;
	__be16 inner;

	if (*at + PPPOE_HLEN + PPP_HLEN > end)
		return 0;
	read_words(&words, *at, 1);
	ev->tuple.l3 = L3_PPPOE;
	*(__u32 *)ev->tuple.saddr = bpf_ntohs((__be16)(words >> 16));
	inner = words >> 48;
	*at += PPPOE_HLEN + PPP_HLEN;
	if (inner == PPP_IP)
		return bpf_htons(ETH_P_IP);
	return inner == PPP_IPV6 ? bpf_htons(ETH_P_IPV6) : 0;
}

#define MPLS_LABELS_MAX 4 /* walked; behind more nothing is read */
#define MPLS_HLEN 4
#define MPLS_BOTTOM 0x100 /* RFC 3032: label 20, class 3, bottom 1, TTL 8 */

/* The same for MPLS, which says of what it carries nothing: the first bits must. */
static __always_inline __be16 enter_mpls(struct event *ev, unsigned char **at, unsigned char *end)
{
	__u64 words = 0;
	int i;

	if (*at + MPLS_HLEN > end)
		return 0;
	read_words(&words, *at, 1);
	ev->tuple.l3 = L3_MPLS;
	*(__u32 *)ev->tuple.saddr = bpf_ntohl((__be32)words) >> 12;
#pragma unroll
	for (i = 0; i < MPLS_LABELS_MAX; i++) {
		*at += MPLS_HLEN;
		if (bpf_ntohl((__be32)words) & MPLS_BOTTOM || *at + MPLS_HLEN > end)
			break;
		read_words(&words, *at, 1);
	}
	if (!(bpf_ntohl((__be32)words) & MPLS_BOTTOM) || *at >= end)
		return 0;
	return network_protocol(0, read_u8(*at));
}

static __always_inline void read_tuple(const struct place *place, struct event *ev)
{
	unsigned char *at = place->start, *end = place->end;
	__be16 proto;

	if (!at)
		return;
	proto = skip_tags(place->proto, &at);
	if (proto == bpf_htons(ETH_P_PPP_SES))
		proto = enter_pppoe(ev, &at, end);
	else if (proto == bpf_htons(ETH_P_MPLS_UC) || proto == bpf_htons(ETH_P_MPLS_MC))
		proto = enter_mpls(ev, &at, end);
	if (proto == bpf_htons(ETH_P_IP))
		read_ipv4(ev, at, end, proto == place->proto ? place->copy : NULL);
	else if (proto == bpf_htons(ETH_P_IPV6))
		read_ipv6(ev, at, end);
	else if (proto == bpf_htons(ETH_P_ARP))
		read_arp(ev, at, end);
}

static __noinline void read_tuple_at(const struct place *place, struct event *ev)
{
	__builtin_memset(&ev->tuple, 0, sizeof(ev->tuple));
	read_tuple(place, ev);
}

#endif
