/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * BPF programs that are given a packet. Before 5.12 the kernel lets such an fentry program interrupt
 * itself: it takes its buffers as those at tracepoints do.
 */
#ifndef PWRU_PROGRAMS_BPF_H
#define PWRU_PROGRAMS_BPF_H

/*
 * The program's argument, as a number: the verifier knows a type of it, where the program's BTF tells,
 * and would not have it calculated with.
 */
static __always_inline __u64 program_argument(void *ctx)
{
	__u64 argument = 0;

	bpf_probe_read_kernel(&argument, sizeof(argument), ctx);
	return argument;
}

/*
 * What the trampoline has behind its arguments: among it where its call in the program returns to, and
 * next where the program does. The stack lacks that one, as the program has no frame yet.
 */
static __always_inline void fill_program_caller(struct event *ev, void *ctx)
{
	const int most = CALLER_MAX * sizeof(__u64);
	void *words = SECTION(ev, SECTION_CALLER);

	if (bpf_probe_read_kernel(words, most, ctx + sizeof(__u64)))
		__builtin_memset(words, 0, most);
}

static __always_inline void fill_program(struct event *ev, void *ctx)
{
	ev->func = 0;
	ev->target = copy_number();
	ev->flags |= EVENT_PROGRAM;
	if (HAS_SECTION(SECTION_CALLER))
		fill_program_caller(ev, ctx);
}

static __noinline int emit_skb_program(void *ctx, __u64 addr, __u64 verdict, __u32 slot)
{
	struct event *ev = paused ? NULL : begin_record(addr, verdict, slot);

	if (!ev)
		return 0;
	fill_program(ev, ctx);
	send_record(ev, ctx);
	return 0;
}

static __always_inline void enter_skb_program(void *ctx)
{
	__u64 addr = program_argument(ctx), verdict;
	__u32 slot = begin_tracepoint();

	if (!slot)
		return;
	verdict = decide(addr, slot);
	if (verdict)
		emit_skb_program(ctx, addr, verdict, slot);
	end_tracepoint();
}

/*
 * A frame at XDP: its bytes from the link header on, and no sk_buff yet. Of a frame in several buffers
 * the first one is all that is looked at.
 */
struct xdp {
	unsigned char *start;
	unsigned char *end;
	struct net_device *dev; /* a VIEW */
	__u32 netns;            /* inode number */
};

static __always_inline void read_xdp(__u64 addr, struct xdp *xdp)
{
	struct xdp_buff *buff = VIEW((struct xdp_buff *)addr);
	struct xdp_rxq_info *rxq = VIEW(FIELD(buff, rxq));
	struct net_device *dev = VIEW(FIELD(rxq, dev));

	xdp->start = FIELD(buff, data);
	xdp->end = FIELD(buff, data_end);
	xdp->dev = dev;
	xdp->netns = net_inum(FIELD(dev, nd_net.net));
}

static __noinline __u64 xdp_filter(const struct xdp *xdp, __u32 slot)
{
	struct link link = {.start = xdp->start};
	struct headers h = {
		.head = xdp->start,
		.tail = xdp->end - xdp->start,
		.network = ETH_HLEN,
	};
	struct frame *frame = linear_frame(&h, &link, false, &cfg.filter, slot);

	if (frame)
		frame->len = h.tail;
	return RUN_IN_BUFFER(run_filter, frame);
}

static __always_inline bool xdp_matches(__u64 addr, const struct xdp *xdp, __u32 slot)
{
	struct place_of place = {.netns = xdp->netns};
	struct net_device *dev = xdp->dev;

	if (cfg.ifindex)
		place.ifindex = FIELD(dev, ifindex);
	return place_matches(&place) && (!cfg.filter.on || xdp_filter(xdp, slot)) &&
	       (!cfg.xdp_expression || xdp_expression(addr));
}

static __always_inline void fill_frame(struct event *ev, const struct xdp *xdp)
{
	struct place place = {
		.start = xdp->start + ETH_HLEN,
		.end = xdp->end,
		.proto = read_be16(xdp->start + ETH_HLEN - 2),
	};

	ev->proto = bpf_ntohs(place.proto);
	ev->tcp_flags = 0;
	__builtin_memset(&ev->tuple, 0, sizeof(ev->tuple));
	if (cfg.tuple)
		read_tuple(&place, ev);
	if (HAS_SECTION(SECTION_HEAD)) {
		fill_head(SECTION(ev, SECTION_HEAD), &place);
		((struct packet_head *)SECTION(ev, SECTION_HEAD))->tag_proto = 0;
	}
}

/* Sections that are an sk_buff's stay undefined. */
static __noinline int emit_xdp_program(void *ctx, __u64 addr, const struct xdp *xdp, __u32 slot)
{
	struct xdp_buff *buff = VIEW((struct xdp_buff *)addr);
	struct workspace *own = NULL;
	struct event *ev;

	if (paused)
		return 0;
#if !TYPED_LOADS
	own = bpf_map_lookup_elem(&workspaces, &slot);
	if (!own)
		return 0;
#endif
	ev = new_record(slot);
	if (!ev)
		return 0;
	ev->ts_ns = bpf_ktime_get_ns();
	ev->skb = (__u64)FIELD(buff, data_hard_start);
	ev->netns = xdp->netns;
	ev->mark = 0;
	ev->len = xdp->end - xdp->start;
	ev->reason = 0;
	ev->cpu = bpf_get_smp_processor_id();
	ev->flags = 0;
	ev->context = cpu_context(own);
	ev->stack_len = 0;
	fill_task(ev, own);
	fill_device(ev, xdp->dev);
	fill_frame(ev, xdp);
	fill_program(ev, ctx);
	if (HAS_SECTION(SECTION_STACK))
		fill_stack(ev, ctx);
	if (HAS_SECTION(SECTION_XDP))
		xdp_metadata(addr, SECTION(ev, SECTION_XDP));
	submit_record(ev);
	return 0;
}

static __always_inline void enter_xdp_program(void *ctx)
{
	__u64 addr = program_argument(ctx);
	__u32 slot = begin_tracepoint();
	struct xdp xdp;

	if (!slot)
		return;
	read_xdp(addr, &xdp);
	if (xdp_matches(addr, &xdp, slot))
		emit_xdp_program(ctx, addr, &xdp, slot);
	end_tracepoint();
}

#endif
