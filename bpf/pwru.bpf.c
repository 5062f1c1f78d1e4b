/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One program, attached to every function that takes an sk_buff: find the
 * argument, decide (netns, interface, mark, pcap filter, followed packet), then
 * write one record. Nothing is prepared before the verdict.
 */
#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "event.h"
#include "headers.bpf.h"
#include "alone.bpf.h"
#include "packet.bpf.h"
#include "tunnel.bpf.h"
#include "pages.bpf.h"
#include "filter.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Records for user space; full: the event is counted and dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);	/* bytes; set by Python */
} ring SEC(".maps");

/* The same where there is no ring buffer: one record an element. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);		/* set by Python */
	__uint(value_size, sizeof(struct event_with_stack));	/* set by Python */
} queue SEC(".maps");

/*
 * Followed packets by skb address. Nobody deletes at free, so that the
 * functions that free a packet are still shown; the address is forgotten when
 * the allocator hands it out again (alloc_* below). Full: the least recently
 * seen packet gives way; user space learns of it from TRACK_NEW - TRACK_END.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);		/* set by Python */
	__type(key, __u64);
	__type(value, __u8);
} tracked SEC(".maps");

/* A record being built for the queue; see alone.bpf.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_with_stack);
} scratch SEC(".maps");

#if TRAMPOLINE

/* What lies in the trampoline's slot pos (1 = first); false for one that it does not have. */
static __always_inline bool argument(struct pt_regs *ctx, __u32 pos, __u64 *value)
{
	return !bpf_get_func_arg(ctx, pos - 1, value);
}

static __always_inline __u64 find_cookie(struct pt_regs *ctx)
{
	return bpf_get_attach_cookie(ctx);
}

/* The sk_buff that the function got. */
static __always_inline bool find_skb(struct pt_regs *ctx, __u64 *skb)
{
	return argument(ctx, COOKIE_SKB_ARG(find_cookie(ctx)), skb);
}

#else

/*
 * COOKIE_ARGUMENTS of the functions, by a hash of where the probe is: a cookie
 * costs a search of all functions, and a program for each argument a link, which
 * takes long to make and longer to break. Set by Python. CROWDED: functions with
 * different arguments share the place; those are in a map.
 */
const volatile __u8 arguments[1 << ARGUMENTS_BITS] SEC(".rodata.arguments");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);		/* set by Python */
	__type(key, __u64);
	__type(value, __u8);
} crowded SEC(".maps");

/* The register of argument pos (1 = first); false for any other pos. */
static __always_inline bool argument(struct pt_regs *ctx, __u32 pos, __u64 *value)
{
	switch (pos) {
	case 1: *value = ARG1(ctx); return true;
	case 2: *value = ARG2(ctx); return true;
	case 3: *value = ARG3(ctx); return true;
	case 4: *value = ARG4(ctx); return true;
	case 5: *value = ARG5(ctx); return true;
	case 6: *value = ARG6(ctx); return true;
	}
	return false;
}

static __always_inline __u64 look_up_arguments(struct pt_regs *ctx)
{
	return arguments[(__u32)(CTX_FIELD(ctx, ip) * ARGUMENTS_HASH) >> (32 - ARGUMENTS_BITS)];
}

/* Of a function in a crowded place; 0: nobody knows it. */
static __always_inline __u64 look_up_crowded(struct pt_regs *ctx)
{
	__u64 ip = CTX_FIELD(ctx, ip);
	__u8 *own = bpf_map_lookup_elem(&crowded, &ip);

	return own ? *own : 0;
}

/* COOKIE_ARGUMENTS of what would be the kprobe's cookie. */
static __always_inline __u64 find_cookie(struct pt_regs *ctx)
{
	__u64 found = look_up_arguments(ctx);

	return found == ARGUMENTS_CROWDED ? look_up_crowded(ctx) : found;
}

/* The sk_buff that the function got. */
static __always_inline bool find_skb(struct pt_regs *ctx, __u64 *skb)
{
	__u64 found = look_up_arguments(ctx);

	/* Nearly always it is one of these, without a drop reason: asked first. */
	if (found == 1) {
		*skb = ARG1(ctx);
		return true;
	}
	asm volatile("" : "+r"(found));
	if (found == 3) {
		*skb = ARG3(ctx);
		return true;
	}
	if (found == ARGUMENTS_CROWDED)
		found = look_up_crowded(ctx);
	return argument(ctx, COOKIE_SKB_ARG(found), skb);
}

#endif

static __always_inline __u32 net_inum(struct net *net)
{
	if (!net)
		return 0;
	net = VIEW(net);
	return FIELD(net, ns.inum);
}

/* Where the packet is: a device, a namespace. Both may be unknown. */
struct where {
	struct net_device *dev;	/* a VIEW */
	__u32 netns;		/* inode number; of the device, else of the socket */
};

/*
 * skb->dev is not always one: while TCP keeps the sk_buff in a tree, or UDP in a
 * receive queue, its memory holds a tree node or a size (include/linux/skbuff.h).
 * A device lives in a namespace, and those have high numbers.
 */
static __always_inline void find_where(struct sk_buff *skb, const struct sk_buff *view,
				       struct where *where)
{
	struct net_device *dev = VIEWED(skb, view, dev);
	struct sock *sk;

	if (dev) {
		dev = VIEW(dev);
		where->netns = net_inum(FIELD(dev, nd_net.net));
		where->dev = dev;
		if (where->netns >= NETNS_FIRST)
			return;
	}
	where->dev = NULL;
	where->netns = 0;
	sk = VIEWED(skb, view, sk);
	if (sk) {
		sk = VIEW(sk);
		where->netns = net_inum(FIELD(sk, __sk_common.skc_net.net));
	}
}

/* Cheap conditions first. */
static __always_inline bool meta_matches(struct sk_buff *skb)
{
	const struct sk_buff *view = skb;
	struct net_device *dev;
	struct where where;

	if (cfg.mark_mask && (FIELD(skb, mark) & cfg.mark_mask) != cfg.mark)
		return false;
	if (!cfg.netns && !cfg.ifindex)
		return true;
#if !TYPED_LOADS
	__u64 span[DEV_SPAN];

	if (cfg.adjacent) {
		if (READ_SPAN(skb, dev, sk, span))
			return false;
		view = SPAN_VIEW(span, dev);
	}
#endif
	find_where(skb, view, &where);
	dev = where.dev;
	if (cfg.ifindex && (!dev || FIELD(dev, ifindex) != cfg.ifindex))
		return false;
	return !cfg.netns || where.netns == cfg.netns;
}

static __always_inline void follow(__u64 addr)
{
	__u8 one = 1;

	if (bpf_map_update_elem(&tracked, &addr, &one, BPF_ANY))
		count(COUNT_TRACK_FULL);
	else
		count(COUNT_TRACK_NEW);
}

static __always_inline void forget(__u64 addr)
{
	if (!bpf_map_delete_elem(&tracked, &addr))
		count(COUNT_TRACK_END);
}

/*
 * Is this address followed? Within the allocator it may be a fresh sk_buff
 * already: then all is zero, where mac_header of a living one never is.
 */
static __always_inline bool is_followed(__u64 addr)
{
	struct sk_buff *skb;

	if (!bpf_map_lookup_elem(&tracked, &addr))
		return false;
	skb = VIEW((struct sk_buff *)addr);
	if (FIELD(skb, mac_header) || FIELD(skb, network_header))
		return true;
	forget(addr);
	return false;
}

/*
 * Without typed loads: what emit() has of its own on each CPU; see alone.bpf.h. skb: a copy, as
 * the stack has no room for one. The rest is what was read last of a device and of a task.
 *
 * Seven helper calls tell of them, a third of what a record costs, and the hits of a packet follow
 * each other within microseconds: so what was read is good for FRESH_NS. Until then nothing else
 * can be at the address of either, nor the device in another namespace: before that, the kernel
 * waits for those who still look at it (synchronize_net(), delayed_put_task_struct()).
 */
struct workspace {
	__u64 skb[SKB_SPAN];

	const struct net_device *dev;	/* NULL: none was read */
	__u64 dev_ns;			/* when: CLOCK_MONOTONIC */
	__u32 netns;
	__u32 ifindex;
	__u32 mtu;
	__u64 ifname[2];

	const struct task_struct *task;
	__u64 task_ns;
	__u64 comm[2];
	__u64 stack;			/* its lowest address */
};

#define FRESH_NS 100000

#if !TYPED_LOADS
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct workspace);
} workspaces SEC(".maps");
#endif

/* 5.11 (commit 3ca1032ab7ab). */
enum bpf_func_id___known {
	BPF_FUNC_get_current_task_btf___known = 158,
};

#define HAS_TYPED_TASK							\
	(TYPED_LOADS || bpf_core_enum_value_exists(			\
		enum bpf_func_id___known, BPF_FUNC_get_current_task_btf___known))

#define KSOFTIRQ 0x71726974666f736bULL	/* "ksoftirq", little-endian */

/*
 * Kernels whose BTF lacks the counter (5.10): interrupts and the softirqs they lead to run on a
 * stack of their own, tasks on theirs; ksoftirqd does nothing else.
 */
static __always_inline __u8 stack_context(struct pt_regs *ctx, const __u64 *comm,
					  const struct workspace *own)
{
	__u64 stack = HAS_TYPED_TASK ? (__u64)bpf_get_current_task_btf()->stack : own->stack;

	if (comm[0] == KSOFTIRQ)
		return CONTEXT_SOFTIRQ;
	return STACK_POINTER(ctx) - stack < THREAD_SIZE ? CONTEXT_TASK : CONTEXT_SOFTIRQ;
}

extern const int __preempt_count __ksym __weak;		/* up to 6.1, again from 6.15 */
extern const struct pcpu_hot pcpu_hot __ksym __weak;	/* 6.2 to 6.14 */

/* comm: of the current task; own: as fill_task() leaves it. */
static __always_inline __u8 cpu_context(struct pt_regs *ctx, const __u64 *comm,
					const struct workspace *own)
{
	int count;

	if (&__preempt_count) {
		const int *p = bpf_this_cpu_ptr(&__preempt_count);

		count = *p;
	} else if (&pcpu_hot) {
		const struct pcpu_hot *p = bpf_this_cpu_ptr(&pcpu_hot);

		count = p->preempt_count;
	} else {
		return TRAMPOLINE ? CONTEXT_UNKNOWN : stack_context(ctx, comm, own);
	}
	/* A breakpoint probe runs as if in an NMI: then the bits above say nothing. */
	if ((count & HARDIRQ_MASK) && !(count & NMI_MASK))
		return CONTEXT_HARDIRQ;
	return count & SOFTIRQ_SERVING ? CONTEXT_SOFTIRQ : CONTEXT_TASK;
}

static __always_inline void fill_task(struct event *ev, struct workspace *own)
{
	__u64 *name = (__u64 *)ev->comm;

	if (HAS_TYPED_TASK) {
		/* The kernel trusts this pointer: loads through it are not checked. */
		const struct task_struct *task = bpf_get_current_task_btf();
		const __u64 *comm = (const __u64 *)task->comm;

		ev->pid = task->tgid;
		name[0] = comm[0];
		name[1] = comm[1];
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		if (task != own->task || ev->ts_ns - own->task_ns >= FRESH_NS) {
			bpf_core_read(own->comm, sizeof(own->comm), &task->comm);
			own->stack = (__u64)FIELD(task, stack);
			own->task = task;
			own->task_ns = ev->ts_ns;
		}
		ev->pid = bpf_get_current_pid_tgid() >> 32;
		name[0] = own->comm[0];
		name[1] = own->comm[1];
	}
}

#define DEV_OFFSET(field) bpf_core_field_offset(struct net_device, field)

static __always_inline void fill_numbers(struct event *ev, struct net_device *dev)
{
	__u32 words[3];

	/* On some kernels one copy has both. */
	if (TYPED_LOADS || DEV_OFFSET(mtu) != DEV_OFFSET(ifindex) + 8) {
		ev->ifindex = FIELD(dev, ifindex);
		ev->mtu = FIELD(dev, mtu);
	} else if (!bpf_probe_read_kernel(words, sizeof(words), &dev->ifindex)) {
		ev->ifindex = words[0];
		ev->mtu = words[2];
	}
}

/* The device that it tells of; NULL: there is none. */
static __always_inline struct net_device *read_where(struct event *ev, struct sk_buff *skb,
						     const struct sk_buff *view)
{
	struct net_device *dev;
	struct where where;

	find_where(skb, view, &where);
	dev = where.dev;
	ev->netns = where.netns;
	ev->ifindex = 0;
	ev->mtu = 0;
	if (dev) {
		fill_numbers(ev, dev);
		read_words((__u64 *)ev->ifname, &dev->name, 2);
	} else {
		__builtin_memset(ev->ifname, 0, sizeof(ev->ifname));
	}
	return dev;
}

static __always_inline void fill_where(struct event *ev, struct sk_buff *skb,
				       const struct sk_buff *view, struct workspace *own)
{
	const struct net_device *dev = VIEWED(skb, view, dev);
	__u64 *ifname = (__u64 *)ev->ifname;

	if (TYPED_LOADS) {
		read_where(ev, skb, view);
		return;
	}
	if (dev && dev == own->dev && ev->ts_ns - own->dev_ns < FRESH_NS) {
		ev->netns = own->netns;
		ev->ifindex = own->ifindex;
		ev->mtu = own->mtu;
		ifname[0] = own->ifname[0];
		ifname[1] = own->ifname[1];
		return;
	}
	own->dev = read_where(ev, skb, view);
	own->dev_ns = ev->ts_ns;
	own->netns = ev->netns;
	own->ifindex = ev->ifindex;
	own->mtu = ev->mtu;
	own->ifname[0] = ifname[0];
	own->ifname[1] = ifname[1];
}

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
	ev->context = cpu_context(ctx, (const __u64 *)ev->comm, own);
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

static __always_inline void fill_stack(struct event_with_stack *ev, struct pt_regs *ctx)
{
	long bytes = bpf_get_stack(ctx, ev->stack, sizeof(ev->stack), 0);

	if (bytes > 0)
		ev->event.stack_len = bytes / sizeof(__u64);
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
	/* The verifier wants the size of a reservation to be a constant. */
	if (cfg.stack)
		return bpf_ringbuf_reserve(&ring, sizeof(struct event_with_stack), 0);
	return bpf_ringbuf_reserve(&ring, sizeof(struct event), 0);
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
	if (cfg.stack)
		fill_stack((struct event_with_stack *)ev, ctx);
	if (!cfg.queue)
		bpf_ringbuf_submit(ev, 0);
	else if (bpf_map_push_elem(&queue, ev, 0))	/* BPF_EXIST would overwrite the oldest */
		count(COUNT_BUFFER_FULL);
	return 0;
}

/* Conditions beside the pcap filter, and packets that are followed. */
static __noinline __u64 decide(__u64 addr)
{
	if (!addr)
		return REJECT;
	if (cfg.track && is_followed(addr))
		return FOLLOWED;
	if (cfg.meta && !meta_matches(VIEW((struct sk_buff *)addr)))
		return REJECT;
	if (cfg.filter.on && !pcap_filter(addr))
		return REJECT;
	if ((cfg.inner_l2.on || cfg.inner_l3.on) && !inner_matches(addr))
		return REJECT;
	if (cfg.track && !paused)
		follow(addr);
	return MATCH;
}

static __always_inline void trace_simple(struct pt_regs *ctx, __u64 addr, const bool tag,
					 const bool flat)
{
	struct place place;
	__u64 verdict = filter_hot(addr, &place, tag, flat);

	if (verdict && emit(ctx, addr, verdict, &place) && filter_cold(addr, &place))
		emit(ctx, addr, MATCH, &place);
}

static __always_inline void trace_any(struct pt_regs *ctx, __u64 addr)
{
	struct place place = {};
	__u64 verdict;

	if (!begin_alone())
		return;
	verdict = decide(addr);
	if (verdict)
		emit(ctx, addr, verdict, &place);
	end_alone();
}

/* Where nothing but a pcap filter decides, and filter_hot() can run it. */
#define SIMPLE_PROGRAM(name, tag, flat)					\
	SEC("kprobe")							\
	int name(struct pt_regs *ctx)					\
	{								\
		__u64 addr;						\
									\
		if (find_skb(ctx, &addr))				\
			trace_simple(ctx, addr, tag, flat);		\
		else							\
			count(COUNT_UNKNOWN);				\
		return 0;						\
	}

SIMPLE_PROGRAM(trace_skb, false, false)
SIMPLE_PROGRAM(trace_skb_tag, true, false)
#if !TYPED_LOADS
SIMPLE_PROGRAM(trace_skb_flat, false, true)
#endif

SEC("kprobe")
int trace_skb_any(struct pt_regs *ctx)
{
	__u64 addr;

	if (find_skb(ctx, &addr))
		trace_any(ctx, addr);
	else
		count(COUNT_UNKNOWN);
	return 0;
}

/*
 * --filter-track-skb: a copy of a followed packet is followed too, and an
 * address fresh from the allocator is another packet. The program's name is
 * KIND_ARGUMENTS_FUNCTION: Python loads those whose function the kernel has
 * with that many arguments. ctx[ARGUMENTS] is the returned sk_buff.
 */
#define ALLOC_PROGRAM(func, nargs)					\
	SEC("?fexit/" #func)						\
	int alloc_##nargs##_##func(__u64 *ctx)				\
	{								\
		forget(ctx[nargs]);					\
		return 0;						\
	}

#define COPY_PROGRAM(func, nargs)					\
	SEC("?fexit/" #func)						\
	int copy_##nargs##_##func(__u64 *ctx)				\
	{								\
		if (!ctx[nargs])					\
			return 0;					\
		forget(ctx[nargs]);					\
		if (is_followed(ctx[0]))				\
			follow(ctx[nargs]);				\
		return 0;						\
	}

ALLOC_PROGRAM(__alloc_skb, 4)
ALLOC_PROGRAM(__build_skb, 2)
ALLOC_PROGRAM(build_skb, 2)
ALLOC_PROGRAM(napi_build_skb, 2)
ALLOC_PROGRAM(slab_build_skb, 1)
ALLOC_PROGRAM(__netdev_alloc_skb, 3)
ALLOC_PROGRAM(__napi_alloc_skb, 3)
ALLOC_PROGRAM(napi_alloc_skb, 2)
COPY_PROGRAM(skb_clone, 2)
COPY_PROGRAM(skb_copy, 2)
COPY_PROGRAM(__pskb_copy_fclone, 4)
COPY_PROGRAM(skb_copy_expand, 4)
