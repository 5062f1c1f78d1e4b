/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets that are followed, whatever the filter says: --filter-track-skb. */
#ifndef PWRU_FOLLOW_BPF_H
#define PWRU_FOLLOW_BPF_H

/*
 * Followed packets by skb address. Nobody deletes at free, so that the
 * functions that free a packet are still shown; the address is forgotten when
 * the allocator hands it out again (alloc_* below). Full: the least recently
 * seen packet gives way; user space learns of it from TRACK_NEW - TRACK_END.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);		/* set by Python */
	__type(key, __u64);
	__type(value, __u8);
} tracked SEC(".maps");

static __always_inline void follow(__u64 addr)
{
	__u8 one = 1;

	if (bpf_map_update_elem(&tracked, &addr, &one, BPF_ANY))
		count(COUNT_TRACK_FULL);
	else
		count(COUNT_TRACK_NEW);
}

static __always_inline void forget(__u64 addr)
{
	if (!bpf_map_delete_elem(&tracked, &addr))
		count(COUNT_TRACK_END);
}

/*
 * Is this address followed? Within the allocator it may be a fresh sk_buff
 * already: then all is zero, where mac_header of a living one never is.
 */
static __always_inline bool is_followed(__u64 addr)
{
	struct sk_buff *skb;

	if (!bpf_map_lookup_elem(&tracked, &addr))
		return false;
	skb = VIEW((struct sk_buff *)addr);
	if (FIELD(skb, mac_header) || FIELD(skb, network_header))
		return true;
	forget(addr);
	return false;
}

#endif
