/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What one hit has read is good for the next ones; without typed loads alone. */
#ifndef PWRU_WORKSPACE_BPF_H
#define PWRU_WORKSPACE_BPF_H

/*
 * Without typed loads: what emit() has of its own on each CPU; see alone.bpf.h. skb: a copy, as
 * the stack has no room for one. The rest is what was read last of a device and of a task.
 *
 * Seven helper calls tell of them, a third of what a record costs, and the hits of a packet follow
 * each other within microseconds: so what was read is good for FRESH_NS. Until then nothing else
 * can be at the address of either, nor the device in another namespace: before that, the kernel
 * waits for those who still look at it (synchronize_net(), delayed_put_task_struct()).
 */
struct workspace {
	__u64 before[SPAN_BEFORE];
	__u64 skb[SKB_SPAN];

	const struct net_device *dev; /* NULL: none was read */
	__u64 dev_ns;                 /* when: CLOCK_MONOTONIC */
	__u32 netns;
	__u32 ifindex;
	__u32 mtu;
	__u64 ifname[2];

	const struct task_struct *task;
	__u64 task_ns;
	__u64 comm[2];

	__u64 per_cpu_area; /* this CPU's; 0: not read yet */
};

#define FRESH_NS 100000

#if !TYPED_LOADS
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct workspace);
} workspaces SEC(".maps");
#endif

#endif
