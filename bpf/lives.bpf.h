/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where no traced function tells that a packet ends (a narrow --filter-func): which events are the
 * first of a packet. No record is sent for an end: it would take room from events.
 */
#ifndef PWRU_LIVES_BPF_H
#define PWRU_LIVES_BPF_H

/*
 * Packets that were shown and have not been freed since, by skb address. Full: the one that was seen
 * least recently gives way, and counts as another packet when it is seen again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, __u8);
} lives SEC(".maps");

/* Asked once the event has room: of a packet whose first event is lost the next one is the first. */
static __always_inline bool is_first(__u64 addr)
{
	__u8 shown = 1;

	if (bpf_map_lookup_elem(&lives, &addr))
		return false;
	bpf_map_update_elem(&lives, &addr, &shown, BPF_ANY);
	return true;
}

#endif
