/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses, ports and ICMP identifiers of a packet that matched. */
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
#define IPV6_EXTENSIONS_MAX 6	/* walked; a chain of more shows no ids */

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

static __always_inline void read_icmp(struct event_tuple *t, unsigned char *at, unsigned char *end)
{
	struct {
		__u8 type;
		__u8 code;
		__be16 checksum;
		__be16 id;
		__be16 sequence;
	} icmp;

	if (at + sizeof(icmp) > end || bpf_probe_read_kernel(&icmp, sizeof(icmp), at))
		return;
	t->icmp_type = icmp.type;
	t->ids = IDS_ICMP;
	if (icmp_has_id(t->l4, icmp.type)) {
		t->ids = IDS_ICMP_ECHO;
		t->sport = icmp.id;
		t->dport = icmp.sequence;
	}
}

static __always_inline void read_ids(struct event *ev, unsigned char *at, unsigned char *end)
{
	struct event_tuple *t = &ev->tuple;

	if (is_icmp(t)) {
		read_icmp(t, at, end);
		return;
	}
	if (!has_ports(t->l4) || at + 4 > end)
		return;
	if (bpf_probe_read_kernel(&t->sport, 4, at))	/* sport and dport */
		return;
	t->ids = IDS_PORTS;
	if (t->l4 == IPPROTO_TCP && at + 14 <= end)
		bpf_probe_read_kernel(&ev->tcp_flags, 1, at + 13);
}

static __always_inline void read_ipv4(struct event *ev, unsigned char *at, unsigned char *end)
{
	__u8 ip[20];

	if (at + sizeof(ip) > end || bpf_probe_read_kernel(ip, sizeof(ip), at))
		return;
	if (ip[0] >> 4 != 4)
		return;
	ev->tuple.l3 = L3_IPV4;
	ev->tuple.l4 = ip[9];
	__builtin_memcpy(ev->tuple.saddr, ip + 12, 4);
	__builtin_memcpy(ev->tuple.daddr, ip + 16, 4);
	if ((ip[6] & 0x1f) || ip[7]) {
		ev->tuple.ids = IDS_FRAGMENT;
		return;
	}
	read_ids(ev, at + (ip[0] & 0xf) * 4, end);
}

static __always_inline void read_ipv6(struct event *ev, unsigned char *at, unsigned char *end)
{
	__u8 ip6[8], ext[4], next;
	int i;

	if (at + 40 > end || bpf_probe_read_kernel(ip6, sizeof(ip6), at))
		return;
	if (ip6[0] >> 4 != 6)
		return;
	bpf_probe_read_kernel(ev->tuple.saddr, 32, at + 8);	/* and daddr */
	ev->tuple.l3 = L3_IPV6;
	next = ip6[6];
	at += 40;
#pragma unroll
	for (i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
			break;
		if (at + 8 > end || bpf_probe_read_kernel(ext, sizeof(ext), at))
			break;
		if (next == IPPROTO_FRAGMENT) {
			next = ext[0];
			if (ext[2] || (ext[3] & 0xf8)) {	/* not the first one */
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
	if (at + 28 > end)
		return;
	ev->tuple.l3 = L3_ARP;
	bpf_probe_read_kernel(ev->tuple.saddr, 4, at + 14);
	bpf_probe_read_kernel(ev->tuple.daddr, 4, at + 24);
}

static __always_inline void read_tuple(struct sk_buff *skb, struct event *ev)
{
	unsigned char *at, *end;
	struct headers h;
	__be16 proto = 0;

	read_headers(skb, &h);
	end = h.head + h.tail;
	at = network_start(skb, &h, &proto);
	if (!at)
		return;
	if (proto == bpf_htons(ETH_P_IP))
		read_ipv4(ev, at, end);
	else if (proto == bpf_htons(ETH_P_IPV6))
		read_ipv6(ev, at, end);
	else if (proto == bpf_htons(ETH_P_ARP))
		read_arp(ev, at, end);
}

#endif
