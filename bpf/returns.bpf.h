/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* --output-return: the programs' parts at the entry and at the return, of kprobes. */
#ifndef PWRU_RETURNS_BPF_H
#define PWRU_RETURNS_BPF_H

#if !TRAMPOLINE

/*
 * A call of one of the kernel's functions for sessions, with the context as its argument, which it
 * took no notice of before 7.0. Python puts the call in place of the mark.
 */
#define session_call(ctx, mark)                                     \
	({                                                          \
		__u64 __result;                                     \
		asm volatile("r1 = %1\n"                            \
			     "r0 = %2\n"                            \
			     "%0 = r0\n"                            \
			     : "=r"(__result)                       \
			     : "r"(ctx), "i"(mark)                  \
			     : "r0", "r1", "r2", "r3", "r4", "r5"); \
		__result;                                           \
	})

/* 8 bytes that one call of a function has from its entry to its return. */
static __always_inline __u64 *session_cookie(struct pt_regs *ctx)
{
	return (__u64 *)session_call(ctx, SESSION_COOKIE);
}

/* Which function is probed. */
static __always_inline __u64 probed_func(struct pt_regs *ctx)
{
	return cfg.func_ip ? bpf_get_func_ip(ctx) : PROBED_ADDR(ctx);
}

/* The same at its return: what a kretprobe knows, it keeps for its handler. */
static __always_inline __u64 returned_func(struct pt_regs *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u64 area = 0, probe = 0;
	struct kprobe *at_work;

	if (!cfg.current_kprobe)
		return bpf_get_func_ip(ctx);
	read_words(&area, (const void *)(cfg.per_cpu_offset + 8 * cpu), 1);
	read_words(&probe, (const void *)(area + cfg.current_kprobe), 1);
	at_work = VIEW((struct kprobe *)probe);
	return (__u64)FIELD(at_work, addr);
}

/* Whether the function's return is waited for. */
static __always_inline bool enter_call(struct pt_regs *ctx)
{
	__u64 addr, verdict, cookie = cfg.inside ? find_cookie(ctx) : 0;
	struct place place = {};

	if (cfg.inside && COOKIE_SKB_ARG(cookie) == COOKIE_NO_SKB)
		return emit_inside(ctx, cookie) == EMITTED_CALL;
	if (!take_skb(ctx, &addr))
		return false;
	if (cfg.inside)
		return emit_around(ctx, addr) == EMITTED_CALL;
	verdict = decide(addr, SLOT_FUNCTION);
	return verdict && emit(ctx, addr, verdict, &place) == EMITTED_CALL;
}

/* What is still there of an earlier call at this place is not this one's. */
static __always_inline void forget_call(struct pt_regs *ctx)
{
	struct call call = {.sp = RETURN_ADDRESS_AT(ctx), .func = probed_func(ctx)};

	bpf_map_delete_elem(&calls, &call);
}

/* The packet may be freed: nothing is read of it. */
static __noinline int leave_call(struct pt_regs *ctx, __u64 sp)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct call call = {.sp = sp, .func = returned_func(ctx)};
	struct entered *found = bpf_map_lookup_elem(&calls, &call), entered;
	struct call_section *section;
	struct event *ev;

	if (cfg.inside)
		leave_level(sp);
	if (!found)
		return 0;
	entered = *found;
	bpf_map_delete_elem(&calls, &call);
	count(COUNT_RETURNS);
	ev = paused ? NULL : new_record(SLOT_FUNCTION);
	if (!ev)
		return 0;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->ts_ns = now_ns;
	ev->skb = entered.skb;
	ev->func = call.func;
	ev->cpu = bpf_get_smp_processor_id();
	ev->flags = EVENT_RETURN;
	section = SECTION(ev, SECTION_CALL);
	section->sp = sp;
	section->entered_ns = entered.ts_ns;
	section->value = CTX_FIELD(ctx, ax);
	if (TELLS_MAPS)
		fill_found(ev, &entered.found, section->value);
	submit_record(ev);
	return 0;
}

#endif

#endif
