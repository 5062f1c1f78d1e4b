/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What runs on the CPU: the task, and in which context. */
#ifndef PWRU_TASK_BPF_H
#define PWRU_TASK_BPF_H

/* 5.11 (commit 3ca1032ab7ab). */
enum bpf_func_id___known {
	BPF_FUNC_get_current_task_btf___known = 158,
};

#define HAS_TYPED_TASK							\
	(TYPED_LOADS || bpf_core_enum_value_exists(			\
		enum bpf_func_id___known, BPF_FUNC_get_current_task_btf___known))

#define KSOFTIRQ 0x71726974666f736bULL	/* "ksoftirq", little-endian */

/*
 * Kernels whose BTF lacks the counter (5.10): interrupts and the softirqs they lead to run on a
 * stack of their own, tasks on theirs; ksoftirqd does nothing else.
 */
static __always_inline __u8 stack_context(struct pt_regs *ctx, const __u64 *comm,
					  const struct workspace *own)
{
	__u64 stack = HAS_TYPED_TASK ? (__u64)bpf_get_current_task_btf()->stack : own->stack;

	if (comm[0] == KSOFTIRQ)
		return CONTEXT_SOFTIRQ;
	return STACK_POINTER(ctx) - stack < THREAD_SIZE ? CONTEXT_TASK : CONTEXT_SOFTIRQ;
}

extern const int __preempt_count __ksym __weak;		/* up to 6.1, again from 6.15 */
extern const struct pcpu_hot pcpu_hot __ksym __weak;	/* 6.2 to 6.14 */

/* comm: of the current task; own: as fill_task() leaves it. */
static __always_inline __u8 cpu_context(struct pt_regs *ctx, const __u64 *comm,
					const struct workspace *own)
{
	int count;

	if (&__preempt_count) {
		const int *p = bpf_this_cpu_ptr(&__preempt_count);

		count = *p;
	} else if (&pcpu_hot) {
		const struct pcpu_hot *p = bpf_this_cpu_ptr(&pcpu_hot);

		count = p->preempt_count;
	} else {
		return TRAMPOLINE ? CONTEXT_UNKNOWN : stack_context(ctx, comm, own);
	}
	/* A breakpoint probe runs as if in an NMI: then the bits above say nothing. */
	if ((count & HARDIRQ_MASK) && !(count & NMI_MASK))
		return CONTEXT_HARDIRQ;
	return count & SOFTIRQ_SERVING ? CONTEXT_SOFTIRQ : CONTEXT_TASK;
}

static __always_inline void fill_task(struct event *ev, struct workspace *own)
{
	__u64 *name = (__u64 *)ev->comm;

	if (HAS_TYPED_TASK) {
		/* The kernel trusts this pointer: loads through it are not checked. */
		const struct task_struct *task = bpf_get_current_task_btf();
		const __u64 *comm = (const __u64 *)task->comm;

		ev->pid = task->tgid;
		name[0] = comm[0];
		name[1] = comm[1];
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		if (task != own->task || ev->ts_ns - own->task_ns >= FRESH_NS) {
			bpf_core_read(own->comm, sizeof(own->comm), &task->comm);
			own->stack = (__u64)FIELD(task, stack);
			own->task = task;
			own->task_ns = ev->ts_ns;
		}
		ev->pid = bpf_get_current_pid_tgid() >> 32;
		name[0] = own->comm[0];
		name[1] = own->comm[1];
	}
}

#endif
