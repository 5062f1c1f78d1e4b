/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What each CPU has one of: counters, and buffers for one program at a time.
 *
 * The kernel runs no second kprobe program on a CPU while one is active (bpf_prog_active), and no
 * trampoline's program again. But a trampoline's program runs within any other one: so all count
 * atomically, and where several of them use the buffers (cfg.shared) they take turns.
 *
 * What another task hits while the program is preempted is skipped by the kernel, which counts it.
 * bpf_preempt_disable() was measured and does not help: bpf_preempt_enable() lets the other task
 * run at once, still within the program.
 */
#ifndef PWRU_ALONE_BPF_H
#define PWRU_ALONE_BPF_H

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

#if TRAMPOLINE

/* Whether the buffers of this CPU are in use. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} busy SEC(".maps");

/* False: another program has them, this hit is skipped. */
static __always_inline bool begin_alone(void)
{
	__u32 zero = 0, *taken;

	if (!cfg.shared)
		return true;
	taken = bpf_map_lookup_elem(&busy, &zero);
	if (taken && !__sync_val_compare_and_swap(taken, 0, 1))
		return true;
	count(COUNT_NESTED);
	return false;
}

static __always_inline void end_alone(void)
{
	__u32 zero = 0, *taken;

	if (!cfg.shared)
		return;
	taken = bpf_map_lookup_elem(&busy, &zero);
	if (taken)
		*(volatile __u32 *)taken = 0;
}

#else

static __always_inline bool begin_alone(void)
{
	return true;
}

static __always_inline void end_alone(void)
{
}

#endif

#endif
