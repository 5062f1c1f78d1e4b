/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One record of a hit, and how it leaves the kernel. */
#ifndef PWRU_RECORD_BPF_H
#define PWRU_RECORD_BPF_H

/* Records for user space; full: the event is counted and dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);	/* bytes; set by Python */
} ring SEC(".maps");

/* The same where there is no ring buffer: one record an element. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);		/* set by Python */
	__uint(value_size, sizeof(struct record));	/* set by Python */
} queue SEC(".maps");

/* A record being built for the queue; see alone.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} scratch SEC(".maps");

/* view: a VIEW, or a SPAN_VIEW. */
static __always_inline void fill_tuple(struct event *ev, struct sk_buff *skb,
				       const struct sk_buff *view, struct place *place)
{
	ev->tcp_flags = 0;
	__builtin_memset(&ev->tuple, 0, sizeof(ev->tuple));
	if (!cfg.tuple)
		return;
	if (!place->start) {
		struct headers h;

		if (cfg.adjacent)
			take_adjacent(view, &h);
		else
			read_headers(skb, &h);
		find_place(skb, &h, place);
	}
	read_tuple(place, ev);
}

static __always_inline void fill(struct event *ev, struct pt_regs *ctx, __u64 addr,
				 const struct sk_buff *view, __u64 cookie, bool followed,
				 struct place *place, struct workspace *own)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	__u64 reason;

	ev->ts_ns = bpf_ktime_get_ns();
	ev->skb = addr;
	ev->func = cfg.func_ip || TRAMPOLINE ? bpf_get_func_ip(ctx) : PROBED_ADDR(ctx);
	fill_task(ev, own);
	fill_where(ev, skb, view, own);
	ev->mark = VIEWED(skb, view, mark);
	ev->len = VIEWED(skb, view, len);
	ev->proto = bpf_ntohs(place->protocol);
	ev->cpu = bpf_get_smp_processor_id();
	ev->context = cpu_context(own);
	ev->flags = followed ? EVENT_TRACKED : 0;
	ev->target = COOKIE_TARGET(cookie);
	ev->reason = 0;
	if (COOKIE_REASON_ARG(cookie) && argument(ctx, COOKIE_REASON_ARG(cookie), &reason)) {
		ev->flags |= EVENT_REASON;
		ev->reason = reason;
	}
	if (COOKIE_REASON_ARG(cookie) && VIEWED(skb, view, users.refs.counter) > 1)
		ev->flags |= EVENT_SHARED;
	ev->stack_len = 0;
	fill_tuple(ev, skb, view, place);
}

/* Set by Python when the session ends: detaching takes long, recording stops at once. */
volatile __u32 paused;

/* Where a record has a section, if this session's have it. */
#define HAS_SECTION(section) (cfg.section_at[section])
#define SECTION(ev, section) ((void *)(ev) + cfg.section_at[section])

static __always_inline void fill_stack(struct event *ev, struct pt_regs *ctx)
{
	const int most = STACK_MAX * sizeof(__u64);
	long bytes = bpf_get_stack(ctx, SECTION(ev, SECTION_STACK), most, 0);

	if (bytes > 0)
		ev->stack_len = bytes / sizeof(__u64);
}

#if !TYPED_LOADS

/* The view of a copy, up to the mark, or up to users; NULL when it cannot be read. */
static __always_inline const struct sk_buff *copy_skb(const struct sk_buff *skb, bool whole,
						      void *copy)
{
	if (READ_SPAN(skb, dev, mark, copy))
		return NULL;
	if (whole && READ_SPAN(skb, protocol, users,
			       copy + (SPAN_FIRST(protocol) - SPAN_FIRST(dev))))
		return NULL;
	return SPAN_VIEW(copy, dev);
}

#endif

/* Room for a record: in the ring, or in scratch on its way to the queue; NULL: none left. */
static __always_inline struct event *new_record(void)
{
	__u32 zero = 0;

	if (cfg.queue)
		return bpf_map_lookup_elem(&scratch, &zero);
	/* To the verifier a constant, as it reads cfg (5.5, commit a23740ec43ba). */
	return bpf_ringbuf_reserve(&ring, cfg.record_bytes, 0);
}

/* True: nothing was recorded, as verdict was UNTAGGED and there may be a tag. */
static __noinline int emit(struct pt_regs *ctx, __u64 addr, __u64 verdict, struct place *place)
{
	const struct sk_buff *view = VIEW((const struct sk_buff *)addr);
	__u64 cookie = find_cookie(ctx);
	struct workspace *own = NULL;
	struct event *ev;

#if !TYPED_LOADS
	__u32 zero = 0;

	own = bpf_map_lookup_elem(&workspaces, &zero);
	if (!own)
		return 0;
	if (cfg.adjacent)
		view = copy_skb(view, !place->start || COOKIE_REASON_ARG(cookie), own->skb);
	if (!view)
		return 0;
	if (verdict == UNTAGGED && VLAN_WORD(view))
		return 1;
#endif
	if (paused)
		return 0;
	ev = new_record();
	if (!ev) {
		count(COUNT_BUFFER_FULL);
		return 0;
	}
	if (!place->start)
		place->protocol = VIEWED((struct sk_buff *)addr, view, protocol);
	fill(ev, ctx, addr, view, cookie, verdict == FOLLOWED, place, own);
	if (HAS_SECTION(SECTION_STACK))
		fill_stack(ev, ctx);
	if (!cfg.queue)
		bpf_ringbuf_submit(ev, 0);
	else if (bpf_map_push_elem(&queue, ev, 0))	/* BPF_EXIST would overwrite the oldest */
		count(COUNT_BUFFER_FULL);
	return 0;
}

#endif
