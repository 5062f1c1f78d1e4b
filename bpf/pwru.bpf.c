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
#include "expression.bpf.h"
#include "arguments.bpf.h"
#include "workspace.bpf.h"
#include "where.bpf.h"
#include "task.bpf.h"
#include "conntrack.bpf.h"
#include "sections.bpf.h"
#include "sockets.bpf.h"
#include "maps.bpf.h"
#include "calls.bpf.h"
#include "lives.bpf.h"
#include "record.bpf.h"
#include "follow.bpf.h"
#include "owner.bpf.h"
#include "decide.bpf.h"
#include "inside.bpf.h"
#include "tables.bpf.h"
#include "returns.bpf.h"
#include "programs.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void trace_simple(struct pt_regs *ctx, __u64 addr, const bool tag,
					 const bool flat)
{
	struct place place;
	__u64 verdict = filter_hot(addr, &place, tag, flat);

	if (verdict && emit(ctx, addr, verdict, &place) == NOT_UNTAGGED && !TYPED_LOADS &&
	    filter_tagged(addr, &place))
		emit(ctx, addr, MATCH, &place);
}

static __always_inline void trace_any(struct pt_regs *ctx, __u64 addr)
{
	struct place place = {};
	__u64 verdict;

	if (!begin_alone())
		return;
	verdict = decide(addr, SLOT_FUNCTION);
	if (verdict)
		emit(ctx, addr, verdict, &place);
	end_alone();
}

static __always_inline void trace_around(struct pt_regs *ctx, __u64 addr)
{
	if (!begin_alone())
		return;
	emit_around(ctx, addr);
	end_alone();
}

static __always_inline void trace_without(struct pt_regs *ctx, __u64 cookie)
{
	if (!begin_alone())
		return;
	emit_inside(ctx, cookie);
	end_alone();
}

/* Where nothing but a pcap filter decides, and filter_hot() can run it. */
#define SIMPLE_PROGRAM(name, tag, flat)                     \
	SEC("kprobe")                                       \
	int name(struct pt_regs *ctx)                       \
	{                                                   \
		__u64 addr;                                 \
                                                            \
		if (take_skb(ctx, &addr))                   \
			trace_simple(ctx, addr, tag, flat); \
		return 0;                                   \
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

	if (take_skb(ctx, &addr))
		trace_any(ctx, addr);
	return 0;
}

/* The same, where functions that take no sk_buff are traced within those that do. */
SEC("?kprobe")
int trace_inside(struct pt_regs *ctx)
{
	__u64 cookie = find_cookie(ctx), addr;

	if (COOKIE_SKB_ARG(cookie) == COOKIE_NO_SKB)
		trace_without(ctx, cookie);
	else if (take_skb(ctx, &addr))
		trace_around(ctx, addr);
	return 0;
}

#if !TRAMPOLINE

/* --output-return: where functions are entered and, apart from that, where they are left. */
SEC("?kprobe")
int trace_call(struct pt_regs *ctx)
{
	if (!enter_call(ctx))
		forget_call(ctx);
	return 0;
}

SEC("?kprobe")
int trace_return(struct pt_regs *ctx)
{
	leave_call(ctx, CTX_FIELD(ctx, sp) - sizeof(__u64));
	return 0;
}

/* The same in one, of a kprobe session (6.12): 1 where the kernel is not to call it at the return. */
SEC("?kprobe")
int trace_session(struct pt_regs *ctx)
{
	if (session_call(ctx, SESSION_IS_RETURN)) {
		leave_call(ctx, *session_cookie(ctx));
		return 0;
	}
	if (!enter_call(ctx))
		return 1;
	*session_cookie(ctx) = RETURN_ADDRESS_AT(ctx);
	return 0;
}

#endif

/* Every drop that the kernel itself tells of: args are those of TRACE_EVENT(kfree_skb). */
SEC("?raw_tp/kfree_skb")
int drop_skb(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 slot = begin_tracepoint();
	bool noted;
	__u64 verdict;

	if (!slot)
		return 0;
	noted = begin_receiver(ctx);
	verdict = decide(ctx->args[0], slot);
	if (noted)
		end_receiver(ctx);
	if (verdict && cfg.tables.on && !paused)
		drop_in_table(ctx, ctx->args[0], slot);
	if (verdict)
		emit_drop(ctx, verdict, slot);
	end_tracepoint();
	return 0;
}

static __always_inline int trace_tracepoint(struct bpf_raw_tracepoint_args *ctx, __u64 addr,
					    __u64 location)
{
	__u32 slot = begin_tracepoint();
	__u64 verdict;

	if (!slot)
		return 0;
	verdict = decide(addr, slot);
	if (verdict)
		emit_tracepoint(ctx, addr, location, verdict, slot);
	end_tracepoint();
	return 0;
}

/*
 * --backend tracepoint: one program for each argument, from 1, that may hold the sk_buff, as the
 * kernel attaches none that looks at more arguments than a tracepoint has; located: the next one
 * tells who called it.
 */
#define TRACEPOINT_PROGRAM(arg)                                        \
	SEC("?raw_tp")                                                 \
	int tracepoint_##arg(struct bpf_raw_tracepoint_args *ctx)      \
	{                                                              \
		return trace_tracepoint(ctx, ctx->args[(arg) - 1], 0); \
	}

#define LOCATED_PROGRAM(arg)                                                          \
	SEC("?raw_tp")                                                                \
	int tracepoint_##arg##_located(struct bpf_raw_tracepoint_args *ctx)           \
	{                                                                             \
		return trace_tracepoint(ctx, ctx->args[(arg) - 1], ctx->args[(arg)]); \
	}

TRACEPOINT_PROGRAM(1)
TRACEPOINT_PROGRAM(2)
TRACEPOINT_PROGRAM(3)
TRACEPOINT_PROGRAM(4)
TRACEPOINT_PROGRAM(5)
LOCATED_PROGRAM(1)

/*
 * --filter-trace-tc, --filter-trace-xdp: where a BPF program begins. Each has a copy of this, as an fentry program
 * (attach/bpf_programs.py).
 */
SEC("?raw_tp")
int enter_tc(void *ctx)
{
	enter_skb_program(ctx);
	return 0;
}

SEC("?raw_tp")
int enter_xdp(void *ctx)
{
	enter_xdp_program(ctx);
	return 0;
}

/* Tables of netfilter, see facts/tables.py: where they are entered and, all alike, left. */

SEC("?kprobe")
int enter_xtables(struct pt_regs *ctx)
{
	if (cfg.tables.skb_second)
		enter_table(ctx, ARG2(ctx), ARG1(ctx), ARG3(ctx), XTABLES);
	else
		enter_table(ctx, ARG1(ctx), ARG3(ctx), ARG2(ctx), XTABLES);
	return 0;
}

/* Its arguments are those of ipt_do_table() on every kernel. */
SEC("?kprobe")
int enter_ebtables(struct pt_regs *ctx)
{
	if (cfg.tables.skb_second)
		enter_table(ctx, ARG2(ctx), ARG1(ctx), ARG3(ctx), EBTABLES);
	else
		enter_table(ctx, ARG1(ctx), ARG3(ctx), ARG2(ctx), EBTABLES);
	return 0;
}

/* The sk_buff is the first member of struct nft_pktinfo. */
SEC("?kprobe")
int enter_nftables(struct pt_regs *ctx)
{
	__u64 packet = ARG1(ctx);

	enter_table(ctx, read_pointer(packet), ARG2(ctx),
		    read_pointer(packet + cfg.tables.packet_state), NFTABLES);
	return 0;
}

SEC("?kprobe")
int note_rules(struct pt_regs *ctx)
{
	note_rule(ctx, false);
	return 0;
}

SEC("?kprobe")
int note_rejects(struct pt_regs *ctx)
{
	note_rule(ctx, true);
	return 0;
}

SEC("?kprobe")
int begin_expression(struct pt_regs *ctx)
{
	enter_expression(ctx);
	return 0;
}

SEC("?kprobe")
int end_expression(struct pt_regs *ctx)
{
	return leave_expression(ctx);
}

SEC("?kprobe")
int note_steps(struct pt_regs *ctx)
{
	return note_step(ctx);
}

/* Where ipt_do_table() and its like have decided; each has its own frame. */
#define SITE_PROGRAM(name, of)                                                          \
	SEC("?kprobe")                                                                  \
	int name(struct pt_regs *ctx)                                                   \
	{                                                                               \
		__u64 entry = rule_register(ctx, cfg.tables.rule##of);                  \
                                                                                        \
		return note_site(ctx, entry, cfg.tables.frame##of, cfg.tables.hot##of); \
	}

SITE_PROGRAM(note_site4, 4)
SITE_PROGRAM(note_site6, 6)
SITE_PROGRAM(note_site_arp, _arp)
SITE_PROGRAM(note_site_eb, _eb)

SEC("?kprobe")
int note_match4(struct pt_regs *ctx)
{
	return note_match(ctx, rule_register(ctx, cfg.tables.rule4), cfg.tables.frame4);
}

SEC("?kprobe")
int note_match6(struct pt_regs *ctx)
{
	return note_match(ctx, rule_register(ctx, cfg.tables.rule6), cfg.tables.frame6);
}

/* Where rules are replaced: xt_replace_table(), nf_tables_commit() are entered, and left. */
#define REPLACING_PROGRAM(name, rules, what)                     \
	SEC("?kprobe")                                           \
	int name(struct pt_regs *ctx)                            \
	{                                                        \
		__sync_fetch_and_add(&replacing[rules].what, 1); \
		return 0;                                        \
	}

REPLACING_PROGRAM(begin_replacing, 0, begun)
REPLACING_PROGRAM(end_replacing, 0, over)
REPLACING_PROGRAM(begin_commit, 1, begun)
REPLACING_PROGRAM(end_commit, 1, over)

SEC("?kprobe")
int leave_tables(struct pt_regs *ctx)
{
	return leave_table(ctx);
}

/* Conntrack, see facts/conntrack.py: where it is entered and left, and what it would log. */

SEC("?kprobe")
int enter_conntrack(struct pt_regs *ctx)
{
	begin_judging(ctx);
	return 0;
}

SEC("?kprobe")
int leave_conntrack(struct pt_regs *ctx)
{
	end_judging(ctx);
	return 0;
}

/* The format is this argument. */
#define WHY_PROGRAM(arg, next)                                      \
	SEC("?kprobe")                                              \
	int why_##arg(struct pt_regs *ctx)                          \
	{                                                           \
		note_why(ARG1(ctx), ARG##arg(ctx), ARG##next(ctx)); \
		return 0;                                           \
	}

WHY_PROGRAM(3, 4)
WHY_PROGRAM(4, 5)
WHY_PROGRAM(5, 6)

/* Who makes sockets, see sockets.bpf.h: one of the two. */

SEC("?kprobe")
int note_socket(struct pt_regs *ctx)
{
	note_owner((struct socket *)ARG1(ctx));
	return 0;
}

SEC("?kprobe")
int note_taker(struct pt_regs *ctx)
{
	__u32 slot = begin_tracepoint();

	if (!slot)
		return 0;
	note_receiver(ARG1(ctx), ARG2(ctx), slot);
	end_tracepoint();
	return 0;
}

SEC("?raw_tp/sys_exit")
int note_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	note_made(ctx);
	return 0;
}

/*
 * A process has read a datagram: skb_consume_udp(sk, skb, len), see pwru_py/programs/reads.py. Others
 * hold one, too, that is only peeked at.
 */
SEC("?kprobe")
int note_read(struct pt_regs *ctx)
{
	__u32 slot = begin_tracepoint();
	__u64 addr = ARG2(ctx), verdict;

	if (!slot)
		return 0;
	verdict = FIELD(VIEW((struct sk_buff *)addr), users.refs.counter) == 1 ? decide(addr, slot)
									       : REJECT;
	if (verdict)
		emit_read(ctx, addr, verdict, slot);
	end_tracepoint();
	return 0;
}

/* Nobody holds the packet any more: skb_release_head_state(), see lives.bpf.h. */
SEC("?kprobe")
int end_life(struct pt_regs *ctx)
{
	__u64 addr = ARG1(ctx);

	bpf_map_delete_elem(&lives, &addr);
	return 0;
}

/*
 * Where no program may watch the allocator: the packet is no more. Attached last, so that its end is
 * still shown.
 */
#define END_PROGRAM(tracepoint)                                   \
	SEC("?raw_tp/" #tracepoint)                               \
	int end_##tracepoint(struct bpf_raw_tracepoint_args *ctx) \
	{                                                         \
		forget(ctx->args[0]);                             \
		return 0;                                         \
	}

END_PROGRAM(kfree_skb)
END_PROGRAM(consume_skb)

/* There, for --filter-track-skb; attached first, so that another packet's event is not shown. */
#define WATCH_PROGRAM(tracepoint, way)                              \
	SEC("?raw_tp/" #tracepoint)                                 \
	int watch_##tracepoint(struct bpf_raw_tracepoint_args *ctx) \
	{                                                           \
		watch(ctx->args[0], way);                           \
		return 0;                                           \
	}

WATCH_PROGRAM(napi_gro_receive_entry, ENTERS)
WATCH_PROGRAM(napi_gro_frags_entry, ENTERS)
WATCH_PROGRAM(netif_rx_entry, ENTERS)
WATCH_PROGRAM(netif_receive_skb_entry, ENTERS)
WATCH_PROGRAM(netif_receive_skb_list_entry, ENTERS)
WATCH_PROGRAM(netif_receive_skb, RECEIVED)
WATCH_PROGRAM(net_dev_queue, QUEUED)
WATCH_PROGRAM(kfree_skb, ENDS)
WATCH_PROGRAM(consume_skb, ENDS)
WATCH_PROGRAM(skb_copy_datagram_iovec, ENDS)

/*
 * --filter-track-skb: what is made of a followed packet is followed too, and an address fresh from
 * the allocator is another packet. The program's name is KIND_ARGUMENTS_FUNCTION: Python loads
 * those whose function the kernel has with that many arguments. ctx[ARGUMENTS] is what an fexit
 * program finds returned.
 */
#define ALLOC_PROGRAM(func, nargs)             \
	SEC("?fexit/" #func)                   \
	int alloc_##nargs##_##func(__u64 *ctx) \
	{                                      \
		forget(ctx[nargs]);            \
		return 0;                      \
	}

/* The packet in argument `arg` becomes another one. */
#define REUSE_PROGRAM(func, nargs, arg)        \
	SEC("?fentry/" #func)                  \
	int alloc_##nargs##_##func(__u64 *ctx) \
	{                                      \
		forget(ctx[arg]);              \
		return 0;                      \
	}

/* Argument `from` gives something of itself to argument `to`. */
#define CHILD_PROGRAM(func, nargs, to, from)      \
	SEC("?fentry/" #func)                     \
	int child_##nargs##_##func(__u64 *ctx)    \
	{                                         \
		follow_child(ctx[to], ctx[from]); \
		return 0;                         \
	}

/* Argument `from` is copied into argument `to`. */
#define HEADER_PROGRAM(func, nargs, to, from)    \
	SEC("?fentry/" #func)                    \
	int child_##nargs##_##func(__u64 *ctx)   \
	{                                        \
		follow_copy(ctx[to], ctx[from]); \
		return 0;                        \
	}

/* Where __copy_skb_header(), which all of these call, was inlined. */
#define COPY_PROGRAM(func, nargs)                \
	SEC("?fexit/" #func)                     \
	int copy_##nargs##_##func(__u64 *ctx)    \
	{                                        \
		follow_copy(ctx[nargs], ctx[0]); \
		return 0;                        \
	}

#define FRAGMENTS_PROGRAM(func, nargs)         \
	SEC("?fentry/" #func)                  \
	int child_##nargs##_##func(__u64 *ctx) \
	{                                      \
		follow_fragments(ctx[0]);      \
		return 0;                      \
	}

ALLOC_PROGRAM(__alloc_skb, 4)
ALLOC_PROGRAM(__build_skb, 2)
ALLOC_PROGRAM(build_skb, 2)
ALLOC_PROGRAM(napi_build_skb, 2)
ALLOC_PROGRAM(slab_build_skb, 1)
ALLOC_PROGRAM(__netdev_alloc_skb, 3)
ALLOC_PROGRAM(__napi_alloc_skb, 3)
ALLOC_PROGRAM(napi_alloc_skb, 2)
REUSE_PROGRAM(napi_reuse_skb, 2, 1)
REUSE_PROGRAM(__xdp_build_skb_from_frame, 3, 1)
HEADER_PROGRAM(__copy_skb_header, 2, 0, 1)
CHILD_PROGRAM(ip_copy_metadata, 2, 0, 1)
CHILD_PROGRAM(ip6_copy_metadata, 2, 0, 1)
CHILD_PROGRAM(skb_split, 3, 1, 0)
CHILD_PROGRAM(skb_gro_receive, 2, 0, 1)
CHILD_PROGRAM(skb_gro_receive_list, 2, 0, 1)
FRAGMENTS_PROGRAM(ip_fraglist_init, 4)
FRAGMENTS_PROGRAM(ip6_fraglist_init, 6)
COPY_PROGRAM(skb_clone, 2)
COPY_PROGRAM(skb_copy, 2)
COPY_PROGRAM(__pskb_copy_fclone, 4)
COPY_PROGRAM(skb_copy_expand, 4)
