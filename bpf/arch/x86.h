/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What x86-64 has of its own: registers of a probed function, pages. Kernel ABI, not relocated. */
#ifndef PWRU_ARCH_X86_H
#define PWRU_ARCH_X86_H

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
/* In assembly: a load through ctx plus a variable, as clang likes it, is refused. */
#define CTX_FIELD(ctx, field)                                                             \
	({                                                                                \
		__u64 __reg;                                                              \
		asm volatile("%0 = *(u64 *)(%1 + %2)"                                     \
			     : "=r"(__reg)                                                \
			     : "r"(ctx), "i"(__builtin_offsetof(struct pt_regs, field))); \
		__reg;                                                                    \
	})
#define ARG1(ctx) CTX_FIELD(ctx, di)
#define ARG2(ctx) CTX_FIELD(ctx, si)
#define ARG3(ctx) CTX_FIELD(ctx, dx)
#define ARG4(ctx) CTX_FIELD(ctx, cx)
#define ARG5(ctx) CTX_FIELD(ctx, r8)
#define ARG6(ctx) CTX_FIELD(ctx, r9)
/*
 * The kprobe machinery leaves ip one past the breakpoint, for breakpoints,
 * optimised probes and ftrace alike (arch/x86/kernel/kprobes/ftrace.c).
 */
#define PROBED_ADDR(ctx) (CTX_FIELD(ctx, ip) - 1)

/*
 * Where a function returns to lies on top of the stack while it has not changed that: at its entry,
 * and behind ftrace's call. A trampoline finds there where that call returns to.
 */
#define RETURN_ADDRESS_AT(ctx) CTX_FIELD(ctx, sp)
#define FTRACE_CALL_END_MAX 16 /* bytes from a function's entry to behind ftrace's call */

/* socket(2), accept(2), accept4(2): arch/x86/entry/syscalls/syscall_64.tbl */
#define MAKES_SOCKET(number) ((number) == 41 || (number) == 43 || (number) == 288)

/*
 * page_address() of a page in the direct map, by the values of the kernel's variables of these
 * names (arch/x86/include/asm/page_64.h); Python has looked how large struct page is.
 */
#define PAGE_SHIFT 12
#define STRUCT_PAGE_SHIFT 6
#define PAGE_ADDRESS(page, vmemmap_base, page_offset_base) \
	((page_offset_base) + (((page) - (vmemmap_base)) >> STRUCT_PAGE_SHIFT << PAGE_SHIFT))

#endif
