/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Field expressions: the places where Python puts what pwru_py/expressions/ makes of them, as it does
 * with pcap filters (filter.bpf.h).
 */
#ifndef PWRU_EXPRESSION_BPF_H
#define PWRU_EXPRESSION_BPF_H

/*
 * What is put in uses up to STACK_MAX bytes of stack (code.py there), and calls helpers alone. decide()
 * calls the first beside is_owned(), which with what it calls takes more: so the deepest chain of calls,
 * 512 bytes, is no deeper.
 */

/* --filter-skb-expr: 1 if it is true of the sk_buff. */
static __noinline __u64 skb_expression(__u64 addr)
{
	register __u64 __addr asm("r1") = addr;
	register __u64 __verdict asm("r0");

	asm volatile(FILTER_STUB(EXPRESSION_CAPACITY)
		     : "=r"(__verdict), "+r"(__addr)
		     :
		     : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory");
	return __verdict;
}

/* --output-skb-metadata: what is read of the sk_buff, to the record's section. */
static __noinline __u64 skb_metadata(__u64 addr, void *section)
{
	register __u64 __addr asm("r1") = addr;
	register void *__section asm("r2") = section;
	register __u64 __none asm("r0");

	asm volatile(FILTER_STUB(EXPRESSION_CAPACITY)
		     : "=r"(__none), "+r"(__addr), "+r"(__section)
		     :
		     : "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory");
	return __none;
}

#endif
