/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a session may ask of an event beside the usual: who called, the packet within, raw structures. */
#ifndef PWRU_SECTIONS_BPF_H
#define PWRU_SECTIONS_BPF_H

#if TRAMPOLINE

/*
 * Behind its arguments a trampoline has the frame pointer, where ftrace's call in the function
 * returns to, and then where the function does (arch/x86/net/bpf_jit_comp.c). A slot for a returned
 * value may come first. One that runs the function itself may have been jumped to and not called
 * (7.0): then nothing is certain. Bytes from ctx to where the address of the caller lies; 0: unknown.
 */
static __always_inline __u64 find_caller(struct pt_regs *ctx, __u64 func, __u64 *caller)
{
	__u64 slots = bpf_get_func_arg_cnt(ctx), words[4];

	slots &= 0xf; /* 12 at most; the verifier wants a bound */
	if (bpf_probe_read_kernel(words, sizeof(words), (void *)ctx + 8 * slots))
		return 0;
	if (words[1] - func <= FTRACE_CALL_END_MAX) {
		*caller = words[2];
		return 8 * slots + 16;
	}
	if (words[2] - func <= FTRACE_CALL_END_MAX) {
		*caller = words[3];
		return 8 * slots + 24;
	}
	return 0;
}

static __always_inline __u64 return_address(struct pt_regs *ctx, __u64 func)
{
	__u64 caller = 0;

	find_caller(ctx, func, &caller);
	return caller;
}

#else

static __always_inline __u64 return_address(struct pt_regs *ctx, __u64 func)
{
	__u64 word = 0;

	read_words(&word, (const void *)RETURN_ADDRESS_AT(ctx), 1);
	return word;
}

#endif

/* Of a function. */
static __always_inline void fill_caller(struct event *ev, struct pt_regs *ctx)
{
	*(__u64 *)SECTION(ev, SECTION_CALLER) = return_address(ctx, ev->func);
}

/* Of a tracepoint: the stack, zeros behind it. */
static __always_inline void fill_callers(struct event *ev, void *ctx)
{
	const int most = CALLER_MAX * sizeof(__u64);
	void *callers = SECTION(ev, SECTION_CALLER);

	__builtin_memset(callers, 0, most);
	bpf_get_stack(ctx, callers, most, 0);
}

/* Where the packet within a tunnel's packet begins; false: there is none. */
static __noinline bool find_inner_place(__u64 addr, struct place *place)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct inner inner;
	struct headers h;

	read_headers(skb, &h);
	if (!find_inner(skb, &h, &inner))
		return false;
	place->start = inner.l3;
	place->end = h.head + h.tail;
	place->copy = NULL;
	place->proto = inner.proto;
	return true;
}

/* A function of its own, for its variables; read_tuple_at() leaves in the event what it reads. */
static __noinline int fill_tunnel(struct event *ev, __u64 addr)
{
	struct tunnel *tunnel = SECTION(ev, SECTION_TUNNEL);
	__u64 *inner = (__u64 *)&tunnel->tuple, *outer = (__u64 *)&ev->tuple, word;
	__u8 outer_flags = ev->tcp_flags;
	struct place place = {};
	int i;

	__builtin_memset(tunnel, 0, sizeof(*tunnel));
	if (!find_inner_place(addr, &place))
		return 0;
	__builtin_memcpy(&tunnel->tuple, &ev->tuple, sizeof(ev->tuple));
	ev->tcp_flags = 0;
	read_tuple_at(&place, ev);
	tunnel->tcp_flags = ev->tcp_flags;
	ev->tcp_flags = outer_flags;
#pragma unroll
	for (i = 0; i < sizeof(ev->tuple) / sizeof(word); i++) {
		word = inner[i];
		inner[i] = outer[i];
		outer[i] = word;
	}
	return 0;
}

/* What is the packet's; its tuple is in the event. */
static __always_inline void fill_sections(struct event *ev, __u64 addr)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);

	if (HAS_SECTION(SECTION_TUNNEL))
		fill_tunnel(ev, addr);
	if (HAS_SECTION(SECTION_CONNTRACK))
		fill_conntrack(ev, addr);
	if (HAS_SECTION(SECTION_CB))
		bpf_probe_read_kernel(SECTION(ev, SECTION_CB), CB_WORDS * 4,
				      (const void *)addr + OFFSET(cb));
	if (HAS_SECTION(SECTION_SKB))
		bpf_probe_read_kernel(SECTION(ev, SECTION_SKB), cfg.skb_bytes, (const void *)addr);
	if (HAS_SECTION(SECTION_SHARED))
		bpf_probe_read_kernel(SECTION(ev, SECTION_SHARED), cfg.shared_bytes,
				      FIELD(skb, head) + FIELD(skb, end));
}

#endif
