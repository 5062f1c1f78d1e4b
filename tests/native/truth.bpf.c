/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counts the drops of packets with the mark MARK, at the kernel's tracepoint, by a program that has
 * nothing in common with pwru-py's.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define MARK 0x7275

struct sk_buff {
	__u32 mark;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} dropped SEC(".maps");

SEC("tp_btf/kfree_skb")
int count(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	__u32 zero = 0;
	__u64 *number = bpf_map_lookup_elem(&dropped, &zero);

	if (number && skb->mark == MARK)
		__sync_fetch_and_add(number, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
