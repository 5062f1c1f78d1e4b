/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What runs on the CPU: the task, and in which context. */
#ifndef PWRU_TASK_BPF_H
#define PWRU_TASK_BPF_H

/* The kernel trusts bpf_get_current_task_btf()'s pointer (5.11): loads through it are not checked. */
#define TYPED_TASK (TYPED_LOADS || cfg.typed_task)

static __always_inline __u32 read_u32(const void *from)
{
	__u32 value = 0;

	if (TYPED_LOADS)
		return *(const __u32 *)VIEW(from);
	bpf_probe_read_kernel(&value, sizeof(value), from);
	return value;
}

/*
 * This CPU's preempt count. Its place is that of the variable's symbol, set by Python, from where
 * the CPU's variables are: libbpf would look for an extern in BTF, which needs a file under /sys
 * and the right to read that of every module.
 */
static __always_inline __u32 preempt_count(struct workspace *own)
{
	const void *offset = (const void *)(cfg.per_cpu_offset + 8 * bpf_get_smp_processor_id());
	__u64 area = 0;

	if (TYPED_LOADS) {
		read_words(&area, offset, 1);
	} else {
		if (!own->per_cpu_area) /* it stays for ever */
			read_words(&own->per_cpu_area, offset, 1);
		area = own->per_cpu_area;
	}
	return read_u32((const void *)(area + cfg.preempt_count));
}

/* With PREEMPT_RT (5.13) softirqs are counted by the task. */
static __always_inline __u32 softirq_count(__u32 count)
{
	struct task_struct___rt *task;

	if (!bpf_core_field_exists(struct task_struct___rt, softirq_disable_cnt))
		return count;
	if (TYPED_TASK) {
		task = (void *)bpf_get_current_task_btf();
		return task->softirq_disable_cnt;
	}
	task = (void *)bpf_get_current_task();
	return read_u32(&task->softirq_disable_cnt);
}

static __always_inline __u8 cpu_context(struct workspace *own)
{
	__u32 count, hardirq;

	if (!cfg.preempt_count)
		return CONTEXT_UNKNOWN;
	count = preempt_count(own);
	hardirq = count & cfg.hardirq_mask;
	/* A breakpoint runs as an NMI, which is counted as one hard interrupt more. */
	if (count & cfg.nmi_mask)
		hardirq -= cfg.hardirq_mask & -cfg.hardirq_mask;
	if (hardirq)
		return CONTEXT_HARDIRQ;
	return softirq_count(count) & SOFTIRQ_SERVING ? CONTEXT_SOFTIRQ : CONTEXT_TASK;
}

static __always_inline void fill_task(struct event *ev, struct workspace *own)
{
	__u64 *name = (__u64 *)ev->comm;

	if (TYPED_TASK) {
		const struct task_struct *task = bpf_get_current_task_btf();
		const __u64 *comm = (const __u64 *)task->comm;

		ev->pid = task->tgid;
		name[0] = comm[0];
		name[1] = comm[1];
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		if (task != own->task || ev->ts_ns - own->task_ns >= FRESH_NS) {
			bpf_core_read(own->comm, sizeof(own->comm), &task->comm);
			own->task = task;
			own->task_ns = ev->ts_ns;
		}
		ev->pid = bpf_get_current_pid_tgid() >> 32;
		name[0] = own->comm[0];
		name[1] = own->comm[1];
	}
}

#endif
