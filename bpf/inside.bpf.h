/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * --filter-non-skb-funcs, --filter-track-skb-by-stackid: which function with an sk_buff another one
 * runs within.
 *
 * A call lies below its caller on one stack. So each function with an sk_buff is noted by where its
 * return address lies; what is entered below that address runs within it while the address is
 * there. The next call of the same caller overwrites it.
 */
#ifndef PWRU_INSIDE_BPF_H
#define PWRU_INSIDE_BPF_H

#define LEVELS 32        /* of functions within one another, each with an sk_buff */
#define STACK_SPAN 16384 /* of addresses farther apart nothing can be told */

struct level {
	__u64 sp;     /* where its return address lies; 0: free */
	__u64 caller; /* that address; 0: it is waited for where the function returns */
	__u64 skb;    /* 0: its packet does not match */
};

struct levels {
	__u64 next;
	struct level at[LEVELS];
};

/* By task, whose interrupts have stacks of their own. Full: what was not looked for longest. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct levels);
} levels_of SEC(".maps");

/* Too large for the stack: the first value of each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct levels);
} no_levels SEC(".maps");

#if TRAMPOLINE

/* An address of the context, as a number: what is read of a map is one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} contexts SEC(".maps");

/* Where the function's return address lies, see find_caller(); 0: not known. */
static __always_inline __u64 entered_at(struct pt_regs *ctx, __u64 *caller)
{
	__u64 behind = find_caller(ctx, bpf_get_func_ip(ctx), caller), *at;
	__u32 zero = 0;

	at = bpf_map_lookup_elem(&contexts, &zero);
	if (!at || !behind)
		return 0;
	*at = (__u64)ctx;
	return *(volatile __u64 *)at + behind;
}

#else

static __always_inline __u64 entered_at(struct pt_regs *ctx, __u64 *caller)
{
	__u64 sp = RETURN_ADDRESS_AT(ctx);

	read_words(caller, (const void *)sp, 1);
	return sp;
}

#endif

/* Whether the level's function has not returned: nothing else lies where its return address did. */
static __always_inline bool is_entered(const struct level *level)
{
	__u64 caller = 0;
	int i;

	if (!level->caller)
		return true;
	read_words(&caller, (const void *)level->sp, 1);
	if (caller == level->caller)
		return true;
#pragma unroll
	for (i = 0; i < RETURN_TRAMPOLINES; i++)
		if (cfg.trampolines[i] && caller == cfg.trampolines[i])
			return true;
	return false;
}

/* Whether any level is left in which the function at sp may run. */
static __always_inline bool forget_levels(struct levels *levels, __u64 sp)
{
	struct level *level;
	bool any = false;
	int i;

	for (i = 0; i < LEVELS; i++) {
		level = &levels->at[i];
		if (level->sp && sp - level->sp < STACK_SPAN)
			level->sp = 0;
		else if (level->sp - sp < STACK_SPAN)
			any = true;
	}
	return any;
}

/* Of a function with an sk_buff. skb: 0 if that does not match. */
static __noinline int enter_level(__u64 sp, __u64 caller, __u64 skb)
{
	__u64 task = bpf_get_current_task();
	struct levels *levels = bpf_map_lookup_elem(&levels_of, &task), *none;
	struct level *level;
	__u32 zero = 0;

	if (!levels && skb) {
		none = bpf_map_lookup_elem(&no_levels, &zero);
		if (!none)
			return 0;
		bpf_map_update_elem(&levels_of, &task, none, BPF_NOEXIST);
		levels = bpf_map_lookup_elem(&levels_of, &task);
	}
	if (!levels || (!forget_levels(levels, sp) && !skb))
		return 0;
	level = &levels->at[levels->next & (LEVELS - 1)];
	levels->next++;
	level->sp = sp;
	level->caller = caller;
	level->skb = skb;
	return 0;
}

#if !TRAMPOLINE

/* The function at sp has returned. */
static __noinline int leave_level(__u64 sp)
{
	__u64 task = bpf_get_current_task();
	struct levels *levels = bpf_map_lookup_elem(&levels_of, &task);

	if (levels)
		forget_levels(levels, sp);
	return 0;
}

#endif

/*
 * The packet of the innermost function with an sk_buff that the one at sp runs within, if it matches.
 * One that was jumped to in place of a return is at the same place.
 */
static __noinline __u64 packet_around(__u64 sp)
{
	__u64 task = bpf_get_current_task(), nearest = STACK_SPAN, skb = 0, above;
	struct levels *levels = bpf_map_lookup_elem(&levels_of, &task);
	struct level *level;
	int i;

	if (!levels)
		return 0;
	for (i = 0; i < LEVELS; i++) {
		level = &levels->at[i];
		above = level->sp - sp;
		if (!level->sp || above >= nearest)
			continue;
		if (!is_entered(level))
			continue;
		nearest = above;
		skb = level->skb;
	}
	return skb;
}

/* An event at a function without an sk_buff. The packet around may be freed: nothing is read of it. */
static __noinline int emit_inside(struct pt_regs *ctx, __u64 cookie)
{
	struct workspace *own = NULL;
	__u64 caller = 0, sp, skb;
	__u32 slot = SLOT_FUNCTION;
	int emitted = EMITTED;
	struct event *ev;

	sp = entered_at(ctx, &caller);
	skb = sp ? packet_around(sp) : 0;
	if (!skb || paused)
		return EMITTED;
#if !TYPED_LOADS
	own = bpf_map_lookup_elem(&workspaces, &slot);
	if (!own)
		return EMITTED;
#endif
	ev = new_record(slot);
	if (!ev)
		return EMITTED;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->ts_ns = bpf_ktime_get_ns();
	ev->skb = skb;
	fill_task(ev, own);
	ev->cpu = bpf_get_smp_processor_id();
	ev->context = cpu_context(own);
	ev->flags = EVENT_INSIDE;
	ev->func = cfg.func_ip || TRAMPOLINE ? bpf_get_func_ip(ctx) : PROBED_ADDR(ctx);
	ev->target = COOKIE_TARGET(cookie);
	if (HAS_SECTION(SECTION_CALLER))
		*(__u64 *)SECTION(ev, SECTION_CALLER) = caller;
	if (HAS_SECTION(SECTION_STACK))
		fill_stack(ev, ctx);
	if (TELLS_MAPS)
		fill_map(ev, ctx, COOKIE_REASON_ARG(cookie));
	if (TRACES_CALLS && note_call(ctx, ev, COOKIE_REASON_ARG(cookie)))
		emitted = EMITTED_CALL;
	submit_record(ev);
	return emitted;
}

/*
 * decide() and emit() at a function with an sk_buff, which is noted for what runs within it. by_stack:
 * a packet that does not match belongs to the one around it that does.
 */
static __noinline int emit_around(struct pt_regs *ctx, __u64 addr)
{
	__u64 verdict = decide(addr, SLOT_FUNCTION), caller = 0, sp = entered_at(ctx, &caller);
	struct place place = {};
	int emitted = EMITTED;

	if (!verdict && cfg.by_stack && addr && sp &&
	    packet_around(sp + sizeof(sp))) { /* at sp itself it may have been called in turn */
		verdict = FOLLOWED;
		if (cfg.track && !paused)
			follow(addr);
	}
	if (verdict)
		emitted = emit(ctx, addr, verdict, &place);
	if (sp)
		enter_level(sp, emitted == EMITTED_CALL ? 0 : caller, verdict ? addr : 0);
	return emitted;
}

#endif
