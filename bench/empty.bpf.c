/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What attaching alone costs: runs at every function, does nothing. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("kprobe")
int empty(void *ctx)
{
	return 0;
}
