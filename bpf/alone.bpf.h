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

/*
 * Which of a CPU's buffers a program uses. Those at functions take turns with the first. The one
 * at a tracepoint runs within any of them, and before 6.1 (commit 05b24ff9b2cf) within itself: it
 * has some for each level of interrupts.
 */
enum slot {
	SLOT_FUNCTION,
	SLOT_TRACEPOINT, /* in a task; then in a softirq, a hard interrupt, an NMI */
	SLOTS = SLOT_TRACEPOINT + 4,
};

/*
 * What is noted where a function is entered, and left within this: the kernel may skip the probe where
 * it is left. A virtual machine may wait for its CPU in between.
 */
#define WITHIN_NS 1000000000

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* How many levels of a tracepoint's program are at work on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} levels SEC(".maps");

/*
 * The slot to use, 0 for none. What interrupts this one takes a level more, and has given it back
 * when this one goes on: no atomic addition is needed.
 */
static __always_inline __u32 begin_tracepoint(void)
{
	__u32 zero = 0, level, *at_work = bpf_map_lookup_elem(&levels, &zero);

	if (!at_work)
		return 0;
	level = *(volatile __u32 *)at_work;
	if (level >= SLOTS - SLOT_TRACEPOINT) {
		count(COUNT_NESTED);
		return 0;
	}
	*(volatile __u32 *)at_work = level + 1;
	return SLOT_TRACEPOINT + level;
}

static __always_inline void end_tracepoint(void)
{
	__u32 zero = 0, *at_work = bpf_map_lookup_elem(&levels, &zero);

	if (at_work)
		*(volatile __u32 *)at_work -= 1;
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
