/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One record of a hit, and how it leaves the kernel. */
#ifndef PWRU_RECORD_BPF_H
#define PWRU_RECORD_BPF_H

/* Records for user space; full: the event is counted and dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20); /* bytes; set by Python */
} ring SEC(".maps");

/* The same where there is no ring buffer: one record an element. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);                    /* set by Python */
	__uint(value_size, sizeof(struct record)); /* set by Python */
} queue SEC(".maps");

/* A record being built for the queue; see alone.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
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

/* The outermost tag: in the metadata, else in the frame. */
static __always_inline __u32 find_tag(struct sk_buff *skb, const struct sk_buff *view,
				      const struct place *place)
{
	struct headers h = {};

	h.vlan_proto = VIEWED(skb, view, vlan_proto);
	h.vlan_tci = VIEWED(skb, view, vlan_tci);
	if (has_tag(skb, &h))
		return VLAN_TAGGED | h.vlan_tci;
	if (place->start && is_tag(place->proto))
		return VLAN_TAGGED | bpf_ntohs(read_be16(place->start));
	return 0;
}

/* A fixed size suits every verifier: behind the linear memory lies struct skb_shared_info. */
static __always_inline void fill_head(struct packet_head *head, const struct place *place)
{
	__u64 room = place->end - place->start;

	head->proto = bpf_ntohs(place->proto);
	head->caplen = 0;
	if (place->start && !bpf_probe_read_kernel(head->bytes, HEAD_BYTES, place->start))
		head->caplen = room < HEAD_BYTES ? room : HEAD_BYTES;
}

/* The tag in the metadata. */
static __always_inline void fill_head_tag(struct packet_head *head, struct sk_buff *skb,
					  const struct sk_buff *view)
{
	struct headers h = {};

	h.vlan_proto = VIEWED(skb, view, vlan_proto);
	h.vlan_tci = VIEWED(skb, view, vlan_tci);
	head->tag_proto = has_tag(skb, &h) ? bpf_ntohs(h.vlan_proto) : 0;
	head->tag_tci = h.vlan_tci;
}

/* All that is the packet's, the task's or the CPU's. */
static __always_inline void fill(struct event *ev, __u64 addr, const struct sk_buff *view,
				 bool followed, struct place *place, struct workspace *own)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);

	ev->ts_ns = bpf_ktime_get_ns();
	ev->skb = addr;
	fill_task(ev, own);
	fill_where(ev, skb, view, own);
	if (cfg.owned && !ev->netns) /* it matched by its flow there */
		ev->netns = taken_in(addr);
	ev->mark = VIEWED(skb, view, mark);
	ev->len = VIEWED(skb, view, len);
	ev->proto = bpf_ntohs(place->protocol);
	ev->cpu = bpf_get_smp_processor_id();
	ev->context = cpu_context(own);
	ev->flags = followed ? EVENT_TRACKED : 0;
	ev->stack_len = 0;
	fill_tuple(ev, skb, view, place);
	if (HAS_SECTION(SECTION_ARRIVAL)) {
		struct arrival *arrival = SECTION(ev, SECTION_ARRIVAL);

		arrival->tag = find_tag(skb, view, place);
		arrival->iif = FIELD(skb, skb_iif);
	}
	fill_sections(ev, addr);
	if (HAS_SECTION(SECTION_OWNER))
		fill_owner(ev, addr);
	if (HAS_SECTION(SECTION_HEAD)) {
		fill_head(SECTION(ev, SECTION_HEAD), place);
		fill_head_tag(SECTION(ev, SECTION_HEAD), skb, view);
	}
}

/* What the function was given beside the packet. */
static __always_inline void fill_function(struct event *ev, struct pt_regs *ctx, __u64 cookie,
					  struct sk_buff *skb, const struct sk_buff *view)
{
	__u64 reason;

	ev->func = cfg.func_ip || TRAMPOLINE ? bpf_get_func_ip(ctx) : PROBED_ADDR(ctx);
	ev->target = COOKIE_TARGET(cookie);
	ev->reason = 0;
	if (COOKIE_REASON_ARG(cookie) && argument(ctx, COOKIE_REASON_ARG(cookie), &reason)) {
		ev->flags |= EVENT_REASON;
		ev->reason = reason;
	}
	if (COOKIE_REASON_ARG(cookie) && VIEWED(skb, view, users.refs.counter) > 1)
		ev->flags |= EVENT_SHARED;
	if (HAS_SECTION(SECTION_CALLER))
		fill_caller(ev, ctx);
}

/* Set by Python when the session ends: detaching takes long, recording stops at once. */
volatile __u32 paused;

static __always_inline void fill_stack(struct event *ev, void *ctx)
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
	if (whole &&
	    READ_SPAN(skb, protocol, users, copy + (SPAN_FIRST(protocol) - SPAN_FIRST(dev))))
		return NULL;
	return SPAN_VIEW(copy, dev);
}

#endif

/* Room for a record: in the ring, or in scratch on its way to the queue; NULL: none left. */
static __always_inline struct event *new_record(__u32 slot)
{
	struct event *ev;

	if (cfg.queue) {
		ev = bpf_map_lookup_elem(&scratch, &slot);
		if (!ev)
			return NULL;
	} else {
		/* To the verifier a constant, as it reads cfg (5.5, commit a23740ec43ba). */
		ev = bpf_ringbuf_reserve(&ring, cfg.record_bytes, 0);
		if (!ev) { /* asked once: 5.10 does not learn from it what it is the next time */
			count(COUNT_BUFFER_FULL);
			return NULL;
		}
	}
	if (TRACES_CALLS)
		begin_call(SECTION(ev, SECTION_CALL));
	return ev;
}

static __always_inline void submit_record(struct event *ev)
{
	if (!cfg.queue)
		bpf_ringbuf_submit(ev, 0);
	else if (bpf_map_push_elem(&queue, ev, 0)) { /* BPF_EXIST would overwrite the oldest */
		count(COUNT_BUFFER_FULL);
		if (ev->target & TARGET_FIRST)
			bpf_map_delete_elem(&lives, &ev->skb);
	}
}

static __always_inline void send_record(struct event *ev, void *ctx)
{
	if (HAS_SECTION(SECTION_STACK))
		fill_stack(ev, ctx);
	if (cfg.lives && is_first(ev->skb))
		ev->target |= TARGET_FIRST;
	if (HAS_SECTION(SECTION_METADATA))
		skb_metadata(ev->skb, SECTION(ev, SECTION_METADATA));
	submit_record(ev);
}

/* How the packet's fields are read, and what of a CPU that takes; false: they cannot be. */
static __always_inline bool view_skb(__u64 addr, bool whole, __u32 slot,
				     const struct sk_buff **view, struct workspace **own)
{
	*view = VIEW((const struct sk_buff *)addr);
	*own = NULL;
#if !TYPED_LOADS
	*own = bpf_map_lookup_elem(&workspaces, &slot);
	if (!*own)
		return false;
	if (cfg.adjacent)
		*view = copy_skb(*view, whole, (*own)->skb);
#endif
	return *view;
}

enum emitted {
	EMITTED,      /* or nothing is, as there is no room, or the session has ended */
	NOT_UNTAGGED, /* nothing is, as verdict was UNTAGGED and there may be a tag */
	EMITTED_CALL, /* and the function's return is waited for */
};

static __noinline int emit(struct pt_regs *ctx, __u64 addr, __u64 verdict, struct place *place)
{
	__u64 cookie = find_cookie(ctx);
	bool whole = !place->start || COOKIE_REASON_ARG(cookie);
	const struct sk_buff *view;
	struct workspace *own;
	struct event *ev;

	int emitted = EMITTED;

	if (!view_skb(addr, whole, SLOT_FUNCTION, &view, &own))
		return EMITTED;
	if (!TYPED_LOADS && verdict == UNTAGGED && VLAN_WORD(view))
		return NOT_UNTAGGED;
	if (paused)
		return EMITTED;
	ev = new_record(SLOT_FUNCTION);
	if (!ev)
		return EMITTED;
	if (!place->start)
		place->protocol = VIEWED((struct sk_buff *)addr, view, protocol);
	fill(ev, addr, view, verdict == FOLLOWED, place, own);
	fill_function(ev, ctx, cookie, VIEW((struct sk_buff *)addr), view);
	/* Who frees the packet is told by the return address, which stays as it is then. */
	if (TRACES_CALLS && !COOKIE_REASON_ARG(cookie) && note_call(ctx, ev, MAP_NONE))
		emitted = EMITTED_CALL;
	send_record(ev, ctx);
	return emitted;
}

/*
 * Arguments of the tracepoint kfree_skb (include/trace/events/skb.h); the reason since 5.17, the
 * socket that was to have the packet since 6.11.
 */
enum kfree_skb_args {
	KFREE_SKB,
	KFREE_LOCATION,
	KFREE_REASON,
	KFREE_RECEIVER,
};

/* 0: it is not known. What TCP has taken into a connection has no device any more. */
static __always_inline __u32 receiver_netns(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk;

	if (!cfg.drop_receivers || !ctx->args[KFREE_RECEIVER])
		return 0;
	sk = VIEW((struct sock *)ctx->args[KFREE_RECEIVER]);
	return net_inum(FIELD(sk, __sk_common.skc_net.net));
}

/*
 * Drops so far, by place and reason: exact, whatever becomes of records. Never deleted; full: those
 * of further places are counted together (COUNT_DROPS_LEFT).
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct drop_key);
	__type(value, __u64);
} drops SEC(".maps");

/*
 * The same by flow, for --top. The least recently used gives way: what of a place's drops no flow
 * has, Python finds by the difference. An addition may come when its flow has just given way.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, struct flow_key);
	__type(value, __u64);
} flows SEC(".maps");

/* Adds one to the map's number of a key; false: no room. */
static __always_inline bool add_one(void *map, const void *key)
{
	__u64 none = 0, *number = bpf_map_lookup_elem(map, key);

	if (!number) {
		/* An interrupt, or another CPU, may have been quicker: then there is one. */
		bpf_map_update_elem(map, key, &none, BPF_NOEXIST);
		number = bpf_map_lookup_elem(map, key);
	}
	if (number)
		__sync_fetch_and_add(number, 1);
	return number;
}

static __always_inline void count_flow(struct flow_key *key, struct sk_buff *skb, __u32 slot)
{
	struct event *ev = bpf_map_lookup_elem(&scratch, &slot);
	const struct sk_buff *view;
	struct place place = {};
	struct workspace *own;

	if (!ev || !view_skb((__u64)skb, true, slot, &view, &own))
		return;
	place.protocol = VIEWED(skb, view, protocol);
	fill_tuple(ev, VIEW(skb), view, &place);
	key->tuple = ev->tuple;
	add_one(&flows, key);
}

static __always_inline void count_drop(struct bpf_raw_tracepoint_args *ctx, __u32 slot)
{
	struct flow_key key = {.drop.location = ctx->args[KFREE_LOCATION], .drop.reason = -1};
	struct sk_buff *skb = (struct sk_buff *)ctx->args[KFREE_SKB];
	struct where where;

	if (cfg.drop_reasons)
		key.drop.reason = ctx->args[KFREE_REASON];
	key.drop.empty = !FIELD(VIEW(skb), len);
	if (cfg.drop_where && look_where(VIEW(skb), &where)) {
		key.drop.netns = where.netns;
		if (where.dev)
			read_words((__u64 *)key.drop.ifname, &where.dev->name, 2);
		if (!where.netns)
			key.drop.netns = receiver_netns(ctx);
	}
	if (!add_one(&drops, &key.drop))
		count(COUNT_DROPS_LEFT);
	if (cfg.flows)
		count_flow(&key, skb, slot);
}

/* A record of a packet at a tracepoint; the caller sends it, and sets the rest; NULL: none. */
static __always_inline struct event *begin_record(__u64 addr, __u64 verdict, __u32 slot)
{
	const struct sk_buff *view;
	struct place place = {};
	struct workspace *own;
	struct event *ev;

	if (!view_skb(addr, true, slot, &view, &own))
		return NULL;
	ev = new_record(slot);
	if (!ev)
		return NULL;
	place.protocol = VIEWED((struct sk_buff *)addr, view, protocol);
	fill(ev, addr, view, verdict == FOLLOWED, &place, own);
	ev->reason = 0;
	return ev;
}

/* What the copy of a program is for, see COPY_MARK. */
static __always_inline __u64 copy_number(void)
{
	__u64 number;

	asm volatile("%0 = %1" : "=r"(number) : "i"(COPY_MARK));
	return number;
}

/*
 * Of another tracepoint: 1 + the index in the plan. Where a link has no cookie (before 6.10), each
 * tracepoint has a copy of the program.
 */
static __always_inline __u32 which_tracepoint(struct bpf_raw_tracepoint_args *ctx)
{
	if (cfg.tracepoint_cookies)
		return bpf_get_attach_cookie(ctx);
	return copy_number();
}

/* location is 0 where the tracepoint has none. */
static __noinline void emit_tracepoint(struct bpf_raw_tracepoint_args *ctx, __u64 addr,
				       __u64 location, __u64 verdict, __u32 slot)
{
	struct event *ev = paused ? NULL : begin_record(addr, verdict, slot);

	if (!ev)
		return;
	ev->func = location;
	ev->target = which_tracepoint(ctx);
	ev->flags |= EVENT_TRACEPOINT;
	if (!FIELD(VIEW((struct sk_buff *)addr), skb_iif))
		ev->flags |= EVENT_LOCAL;
	if (HAS_SECTION(SECTION_CALLER))
		fill_callers(ev, ctx);
	send_record(ev, ctx);
}

/* A process has read a datagram of this socket; skb->dev is none any more. */
static __noinline void emit_read(struct pt_regs *ctx, __u64 addr, __u64 verdict, __u32 slot)
{
	struct sock *sk = VIEW((struct sock *)ARG1(ctx));
	struct event *ev = paused ? NULL : begin_record(addr, verdict, slot);

	if (!ev)
		return;
	ev->func = PROBED_ADDR(ctx);
	ev->target = cfg.read_target;
	ev->flags |= EVENT_TRACEPOINT;
	if (!FIELD(VIEW((struct sk_buff *)addr), skb_iif))
		ev->flags |= EVENT_LOCAL;
	ev->netns = net_inum(FIELD(sk, __sk_common.skc_net.net));
	send_record(ev, ctx);
}

static __noinline void emit_drop(struct bpf_raw_tracepoint_args *ctx, __u64 verdict, __u32 slot)
{
	struct event *ev;

	if (paused)
		return;
	count_drop(ctx, slot);
	if (cfg.drops_hidden)
		return;
	ev = begin_record(ctx->args[KFREE_SKB], verdict, slot);
	if (!ev)
		return;
	ev->func = ctx->args[KFREE_LOCATION];
	ev->target = 0;
	ev->flags |= EVENT_DROP;
	if (!ev->netns)
		ev->netns = receiver_netns(ctx);
	if (cfg.drop_reasons) {
		ev->flags |= EVENT_REASON;
		ev->reason = ctx->args[KFREE_REASON];
	}
	send_record(ev, ctx);
}

#endif
