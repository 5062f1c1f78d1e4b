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

/* addr: of an sk_buff, or an xdp_buff; 1 if it is true of it. */
#define CONDITION_FUNCTION(name)                                                          \
	static __noinline __u64 name(__u64 addr)                                          \
	{                                                                                 \
		register __u64 __addr asm("r1") = addr;                                   \
		register __u64 __verdict asm("r0");                                       \
                                                                                          \
		asm volatile(FILTER_STUB(EXPRESSION_CAPACITY)                             \
			     : "=r"(__verdict), "+r"(__addr)                              \
			     :                                                            \
			     : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory"); \
		return __verdict;                                                         \
	}

/* What is read of it, to the record's section. */
#define VALUES_FUNCTION(name)                                                       \
	static __noinline __u64 name(__u64 addr, void *section)                     \
	{                                                                           \
		register __u64 __addr asm("r1") = addr;                             \
		register void *__section asm("r2") = section;                       \
		register __u64 __none asm("r0");                                    \
                                                                                    \
		asm volatile(FILTER_STUB(EXPRESSION_CAPACITY)                       \
			     : "=r"(__none), "+r"(__addr), "+r"(__section)          \
			     :                                                      \
			     : "r3", "r4", "r5", "r6", "r7", "r8", "r9", "memory"); \
		return __none;                                                      \
	}

/* --filter-skb-expr, --output-skb-metadata, and the same at XDP. */
CONDITION_FUNCTION(skb_expression)
VALUES_FUNCTION(skb_metadata)
CONDITION_FUNCTION(xdp_expression)
VALUES_FUNCTION(xdp_metadata)

#endif
