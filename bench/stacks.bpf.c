/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counts drops by reason and kernel stack: what bpftrace makes of
 * tracepoint:skb:kfree_skb { @[args.reason, kstack] = count() }, without its way into the program.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define DEPTH 127

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 4096);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct key {
	__u64 reason;
	__s64 stack;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct key);
	__type(value, __u64);
} counts SEC(".maps");

SEC("raw_tp/kfree_skb")
int count_stacks(struct bpf_raw_tracepoint_args *ctx)
{
	struct key key = {.reason = ctx->args[2], .stack = bpf_get_stackid(ctx, &stacks, 0)};
	__u64 one = 1, *number = bpf_map_lookup_elem(&counts, &key);

	if (number)
		*number += 1;
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
