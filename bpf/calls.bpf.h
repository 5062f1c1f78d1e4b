/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* --output-return: calls of functions that are recorded, until they return. */
#ifndef PWRU_CALLS_BPF_H
#define PWRU_CALLS_BPF_H

/* A trampoline's program sees entries alone. */
#define TRACES_CALLS (!TRAMPOLINE && HAS_SECTION(SECTION_CALL))

/*
 * Where the return address lies tells one call from all others that are under way, but for those
 * that were jumped to in place of a return: hence the function.
 */
struct call {
	__u64 sp;
	__u64 func;
};

struct entered {
	__u64 ts_ns; /* of the event at the entry */
	__u64 skb;
	struct found found; /* of a function of BPF maps */
};

/*
 * Deleted where the function returns. Of one whose return is not seen the entry stays, until another
 * call takes its place. Full: the least recently used gives way.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, struct call);
	__type(value, struct entered);
} calls SEC(".maps");

/* Of every record; a function's has more. */
static __always_inline void begin_call(struct call_section *section)
{
	section->sp = 0;
	section->entered_ns = 0;
	section->thread = bpf_get_current_pid_tgid();
}

/*
 * Of the event at a function's entry: false where its return cannot be waited for. map: enum
 * map_function.
 */
static __noinline bool note_call(struct pt_regs *ctx, struct event *ev, __u32 map)
{
	struct call_section *section = SECTION(ev, SECTION_CALL);
	struct call call = {.sp = RETURN_ADDRESS_AT(ctx), .func = ev->func};
	struct entered entered = {.ts_ns = ev->ts_ns, .skb = ev->skb};

	if (TELLS_MAPS)
		expect_value(&entered.found, ev, ctx, map);
	if (bpf_map_update_elem(&calls, &call, &entered, BPF_ANY))
		return false;
	section->sp = call.sp;
	count(COUNT_CALLS);
	return true;
}

#endif
