/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Works on a map of each kind for every packet, reads a byte of it, and lets it pass. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define LARGE 600 /* bytes of a value, more than are kept of it */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} services SEC(".maps");

struct large {
	__u8 bytes[LARGE];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct large);
} large_ones SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u32);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct large);
} filled SEC(".maps");

SEC("tc/maps")
int program_with_maps(struct __sk_buff *skb)
{
	__u32 zero = 0, key = skb->mark, pushed = 0x44332211, popped = 0;
	__u8 byte;
	__u64 value = 0x8877665544332211, network = 8 | (__u64)skb->mark << 32; /* a byte */
	void *large = bpf_map_lookup_elem(&filled, &zero);

	if (!bpf_map_lookup_elem(&services, &key))
		bpf_map_update_elem(&services, &key, &value, BPF_ANY);
	if (large)
		bpf_map_update_elem(&large_ones, &key, large, BPF_ANY);
	bpf_map_lookup_elem(&large_ones, &key);
	if (!bpf_map_lookup_elem(&networks, &network))
		bpf_map_update_elem(&networks, &network, &pushed, BPF_ANY);
	bpf_map_push_elem(&waiting, &pushed, BPF_EXIST);
	bpf_map_pop_elem(&waiting, &popped);
	bpf_map_delete_elem(&large_ones, &key);
	bpf_skb_load_bytes(skb, 0, &byte, sizeof(byte));
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
