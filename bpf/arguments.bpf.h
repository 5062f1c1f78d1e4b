/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a function has its arguments: what a trampoline hands on, or registers. */
#ifndef PWRU_ARGUMENTS_BPF_H
#define PWRU_ARGUMENTS_BPF_H

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
	__uint(max_entries, 1); /* set by Python */
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

/*
 * Can there be an sk_buff? Its memory in order: head, data, tail, end. One that is just being made
 * has none yet. The device tells nothing: see find_where().
 */
static __noinline bool is_skb(__u64 addr)
{
	struct sk_buff *skb = (struct sk_buff *)addr;
	unsigned char *head = FIELD(skb, head), *data = FIELD(skb, data);
	__u32 tail = FIELD(skb, tail), end = FIELD(skb, end);

	if ((__s64)head >= 0 || data < head) /* kernel memory is in the upper half */
		return false;
	return data - head <= tail && tail <= end && FIELD(skb, len) >= FIELD(skb, data_len);
}

/* The same, if there is one; what is wrong is counted. */
static __always_inline bool take_skb(struct pt_regs *ctx, __u64 *skb)
{
	if (!find_skb(ctx, skb)) {
		count(COUNT_UNKNOWN);
		return false;
	}
	if (TYPED_LOADS || !cfg.checked || !*skb || is_skb(*skb))
		return true;
	count(COUNT_NO_SKB);
	return false;
}

#endif
