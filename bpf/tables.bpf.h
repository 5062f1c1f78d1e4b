/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What netfilter's tables say of a packet: a probe where one is entered, one where it is left. A
 * packet that is dropped within has its record before that of the drop.
 */
#ifndef PWRU_TABLES_BPF_H
#define PWRU_TABLES_BPF_H

#define NFT_CONTINUE ((__u32) - 1)
#define NF_INET_LOCAL_OUT 3
#define NF_INET_POST_ROUTING 4
#define TABLE_FAMILY_MASK 0x3f /* of struct nft_table: family:6, flags:8, genmask:2 */

/* Whose table. */
enum tables_of {
	XTABLES, /* iptables, ip6tables, arptables */
	NFTABLES,
	EBTABLES,
};

/* A packet in a table. */
struct inside {
	__u64 sp;     /* of the function's return address: it tells one call from all others */
	__u64 base;   /* struct xt_table, struct nft_chain, struct ebt_table */
	__u64 state;  /* struct nf_hook_state */
	__u64 rule;   /* handle of the rule that has decided so far */
	__u64 ts_ns;  /* CLOCK_MONOTONIC */
	__u64 expr;   /* the expression that is evaluated, in a call that is watched, */
	__u64 regs;   /* with struct nft_regs, whose first word is the verdict, */
	__u64 within; /* and `sp` of that call; 0: in none */
	__u32 cpu;
	__u32 replaced; /* see struct table_verdict */
	__u8 nft;
	__u8 hot;
	__u8 step; /* enum nft_step */
	__u8 by_policy;
	__u8 eb;
	__u8 unused[3];
};

/*
 * Calls that replace rules, and how many of them are over: a set of x_tables or ebtables, a
 * transaction of nf_tables. While one is under way, nobody knows which rules a packet meets.
 */
struct replacing {
	__u32 begun;
	__u32 over;
};

volatile struct replacing replacing[2] SEC(".bss.replacing"); /* x_tables, nf_tables */

static __always_inline __u32 replaced(__u32 nft)
{
	volatile struct replacing *calls = &replacing[nft ? 1 : 0];
	__u32 over = calls->over;

	return over == calls->begun ? over + 1 : 0;
}

/*
 * By skb address; deleted where the table is left, or by the drop within. Full: the oldest gives way,
 * and shows no verdict.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct inside);
} inside_of SEC(".maps");

/* The packet, by `sp`. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, __u64);
} inside_at SEC(".maps");

/* A function of its own: the stack has no room for its variables while decide() runs. */
static __noinline int note_inside(__u64 addr, __u64 base, __u64 state, __u32 of, __u64 sp)
{
	struct inside in = {
		.sp = sp,
		.base = base,
		.state = state,
		.ts_ns = bpf_ktime_get_ns(),
		.cpu = bpf_get_smp_processor_id(),
		.replaced = replaced(of == NFTABLES),
		.nft = of == NFTABLES,
		.eb = of == EBTABLES,
	};

	bpf_map_update_elem(&inside_of, &addr, &in, BPF_ANY);
	bpf_map_update_elem(&inside_at, &sp, &addr, BPF_ANY);
	return 0;
}

static __always_inline void enter_table(struct pt_regs *ctx, __u64 addr, __u64 base, __u64 state,
					__u32 of)
{
	__u32 slot = begin_tracepoint();

	if (!slot)
		return;
	watch(addr, ENDS); /* at OUTPUT it may be another packet than a device has received */
	if (!paused && decide(addr, slot))
		note_inside(addr, base, state, of, CTX_FIELD(ctx, sp));
	end_tracepoint();
}

/* Names of more bytes are cut. */
static __always_inline void read_name(char *to, const void *from)
{
	bpf_probe_read_kernel_str(to, NAME_MAX, from);
}

static __always_inline __u64 read_pointer(__u64 from)
{
	__u64 word = 0;

	read_words(&word, (const void *)from, 1);
	return word;
}

static __always_inline void fill_names(struct table_verdict *v, const struct inside *in)
{
	__u64 table;

	v->rule = in->rule;
	v->hot = in->hot;
	v->replaced = in->replaced;
	if (!in->nft) {
		read_name(v->table, (const void *)(in->base + (in->eb ? cfg.tables.eb_name
								      : cfg.tables.xt_name)));
		return;
	}
	if (in->within || v->replaced != replaced(1)) /* a return was not seen */
		v->replaced = 0;
	table = read_pointer(in->base + cfg.tables.chain_table);
	read_name(v->chain, (const void *)read_pointer(in->base + cfg.tables.chain_name));
	read_name(v->table, (const void *)read_pointer(table + cfg.tables.table_name));
	v->table_handle = read_pointer(table + cfg.tables.table_handle);
	v->policy = read_u8((const void *)(in->base - cfg.tables.policy_before));
	v->family = read_u8((const void *)(table + cfg.tables.table_family)) & TABLE_FAMILY_MASK;
}

/* Where it happens: the device that the hook is about. */
static __always_inline void fill_hook(struct event *ev, struct table_verdict *v, __u64 addr)
{
	struct nf_hook_state *state = VIEW((struct nf_hook_state *)addr);
	struct net_device *dev, *in;

	v->hook = FIELD(state, hook);
	v->pf = FIELD(state, pf);
	ev->netns = net_inum(FIELD(state, net));
	v->net_cookie = net_cookie(FIELD(state, net));
	dev = FIELD(state, out);
	in = FIELD(state, in);
	if (!dev || (in && v->hook != NF_INET_LOCAL_OUT && v->hook != NF_INET_POST_ROUTING))
		dev = in;
	if (!dev)
		return;
	dev = VIEW(dev);
	ev->ifindex = FIELD(dev, ifindex);
	read_words((__u64 *)ev->ifname, &dev->name, 2);
}

/* What was stolen may be freed: of it nothing is read. */
static __noinline int emit_verdict(void *ctx, __u64 addr, const struct inside *in, __u32 verdict,
				   __u32 slot)
{
	struct table_verdict *v;
	struct event *ev;

	if ((verdict & NF_VERDICT_MASK) != NF_STOLEN) {
		ev = begin_record(addr, MATCH, slot);
		if (ev && !FIELD(VIEW((struct sk_buff *)addr), skb_iif))
			ev->flags |= EVENT_LOCAL;
	} else {
		ev = new_record(slot);
		if (ev) {
			__builtin_memset(ev, 0, sizeof(*ev));
			ev->ts_ns = bpf_ktime_get_ns();
			ev->skb = addr;
			ev->context = CONTEXT_UNKNOWN;
			if (HAS_SECTION(SECTION_CONNTRACK))
				*(__u64 *)SECTION(ev, SECTION_CONNTRACK) = CT_UNTOLD;
		}
	}
	if (!ev)
		return 0;
	ev->func = 0;
	ev->target = 0;
	ev->flags |= EVENT_VERDICT;
	v = SECTION(ev, SECTION_TABLE);
	__builtin_memset(v, 0, sizeof(*v));
	v->nft = in->nft;
	v->verdict = verdict;
	v->step = in->step;
	v->by_policy = in->by_policy;
	fill_names(v, in);
	fill_hook(ev, v, in->state);
	send_record(ev, ctx);
	return 0;
}

static __noinline int leave_table(struct pt_regs *ctx)
{
	__u64 sp = CTX_FIELD(ctx, sp) - sizeof(__u64), addr;
	__u64 *at = bpf_map_lookup_elem(&inside_at, &sp);
	struct inside *found, in;
	__u32 slot;

	if (!at)
		return 0;
	addr = *at;
	bpf_map_delete_elem(&inside_at, &sp);
	found = bpf_map_lookup_elem(&inside_of, &addr);
	if (!found || found->sp != sp) /* dropped within, and perhaps another packet by now */
		return 0;
	in = *found;
	bpf_map_delete_elem(&inside_of, &addr);
	slot = begin_tracepoint();
	if (!slot)
		return 0;
	if (!paused)
		emit_verdict(ctx, addr, &in, CTX_FIELD(ctx, ax), slot);
	end_tracepoint();
	return 0;
}

/*
 * Which rule has an expression decide? nft_do_chain() keeps its address in a register that calls
 * preserve; which one, the compiler has chosen. An address is that of a rule if the expression is one
 * of the rule's, and their sizes lead from its first one to it, and on to its end.
 */
#define EXPRESSIONS_MAX 32 /* of a rule; one with more is not named */
#define RULE_HANDLE_MASK ((1ULL << 42) - 1)
#define RULE_BYTES_MASK 0xfff

/* dlen: of its expressions. */
struct rule {
	__u64 handle;
	__u64 at; /* of the first expression */
	__u64 dlen;
};

static __always_inline void read_rule(__u64 addr, struct rule *rule)
{
	__u64 word;

	if (cfg.tables.rules_plain) { /* handle:42, genmask:2, dlen:12 behind a list's head */
		word = read_pointer(addr + 16);
		rule->handle = word & RULE_HANDLE_MASK;
		rule->dlen = word >> 44 & RULE_BYTES_MASK;
		rule->at = addr + 24;
	} else { /* struct nft_rule_dp: is_last:1, dlen:12, handle:42 */
		word = read_pointer(addr);
		rule->handle = word & 1 ? 0 : word >> 13 & RULE_HANDLE_MASK;
		rule->dlen = word >> 1 & RULE_BYTES_MASK;
		rule->at = addr + 8;
	}
}

/* The handle; 0: there is no rule with this expression at addr. */
static __noinline __u64 rule_with(__u64 addr, __u64 expr)
{
	struct rule rule;
	__u64 at, end;
	bool found = false;
	int i;

	read_rule(addr, &rule);
	at = rule.at;
	end = at + rule.dlen;
	if (expr < at || expr >= end)
		return 0;
	for (i = 0; i < EXPRESSIONS_MAX; i++) {
		if (at >= end)
			break;
		found |= at == expr;
		at += read_u32((const void *)(read_pointer(at) + cfg.tables.ops_size));
	}
	return found && at == end ? rule.handle : 0;
}

static __noinline __u64 find_rule(struct pt_regs *ctx, __u64 expr)
{
	__u64 handle = rule_with(CTX_FIELD(ctx, bx), expr);

	if (!handle)
		handle = rule_with(CTX_FIELD(ctx, r13), expr);
	if (!handle)
		handle = rule_with(CTX_FIELD(ctx, r14), expr);
	if (!handle)
		handle = rule_with(CTX_FIELD(ctx, r12), expr);
	if (!handle)
		handle = rule_with(CTX_FIELD(ctx, r15), expr);
	if (!handle)
		handle = rule_with(CTX_FIELD(ctx, bp), expr);
	return handle;
}

#define EXPRESSION_HEAD 8 /* struct nft_expr: ops, then what the expression has of its own */

/* Of nft_immediate_eval(): a verdict is data for register 0. */
static __always_inline bool decides(__u64 expr)
{
	__u32 code;

	if (read_u8((const void *)(expr + EXPRESSION_HEAD + cfg.tables.immediate_dreg)))
		return false;
	code = read_u32((const void *)(expr + EXPRESSION_HEAD));
	return code == NF_DROP || code == NF_ACCEPT;
}

/* Of an expression's evaluation: (expr, regs, pkt). `always`: it drops, whatever it is given. */
static __always_inline void note_rule(struct pt_regs *ctx, const bool always)
{
	__u64 expr = ARG1(ctx), addr = read_pointer(ARG3(ctx));
	struct inside *in = bpf_map_lookup_elem(&inside_of, &addr);

	if (in && (always || decides(expr)))
		in->rule = find_rule(ctx, expr);
}

/*
 * Whether a verdict map or a target of x_tables decides, only its return tells: its registers of
 * those that calls preserve are nft_do_chain()'s again.
 */
static __always_inline void enter_expression(struct pt_regs *ctx)
{
	__u64 addr = read_pointer(ARG3(ctx)), sp = CTX_FIELD(ctx, sp);
	struct inside *in = bpf_map_lookup_elem(&inside_of, &addr);

	if (!in || !in->nft)
		return;
	in->expr = ARG1(ctx);
	in->regs = ARG2(ctx);
	in->within = sp;
	bpf_map_update_elem(&inside_at, &sp, &addr, BPF_ANY);
}

static __noinline int leave_expression(struct pt_regs *ctx)
{
	__u64 sp = CTX_FIELD(ctx, sp) - sizeof(__u64), addr;
	__u64 *at = bpf_map_lookup_elem(&inside_at, &sp);
	struct inside *in;

	if (!at)
		return 0;
	addr = *at;
	bpf_map_delete_elem(&inside_at, &sp);
	in = bpf_map_lookup_elem(&inside_of, &addr);
	if (!in || in->within != sp)
		return 0;
	in->within = 0;
	if ((__s32)read_u32((const void *)in->regs) >= 0) /* enum nft_verdicts is below */
		in->rule = find_rule(ctx, in->expr);
	return 0;
}

/*
 * __nft_trace_packet() tells what a packet meets, once the kernel traces rules at all: before it looks
 * whether this one is to be traced.
 */
struct step {
	__u64 packet;  /* struct nft_pktinfo */
	__u64 verdict; /* struct nft_verdict */
	__u64 rule;    /* struct nft_rule, struct nft_rule_dp */
	__u32 type;    /* enum nft_step */
};

static __always_inline void read_step(struct pt_regs *ctx, struct step *step)
{
	__u64 info = ARG1(ctx);

	if (!cfg.tables.info_first) { /* (pkt, verdict, rule, info, type) */
		step->packet = info;
		step->verdict = ARG2(ctx);
		step->rule = ARG3(ctx);
		step->type = ARG5(ctx);
		return;
	}
	step->packet = read_pointer(info + cfg.tables.info_packet);
	step->verdict = read_pointer(info + cfg.tables.info_verdict);
	step->rule = read_pointer(info + cfg.tables.info_rule);
	step->type = ARG3(ctx);
}

static __noinline int note_step(struct pt_regs *ctx)
{
	struct inside *found, in;
	struct rule rule = {};
	struct step step;
	__u64 addr;
	__u32 code, slot;

	read_step(ctx, &step);
	addr = read_pointer(step.packet);
	found = bpf_map_lookup_elem(&inside_of, &addr);
	if (!found || !found->nft)
		return 0;
	code = read_u32((const void *)step.verdict);
	if (step.type != STEP_POLICY) {
		read_rule(step.rule, &rule);
		/* The chain's end: behind the last rule, until 5.16 still at it. */
		if (!rule.handle || (step.type == STEP_END && code == NFT_CONTINUE))
			return 0;
	}
	found->by_policy = step.type == STEP_POLICY;
	found->rule = (__s32)code >= 0 ? rule.handle : 0; /* enum nft_verdicts is below */
	if (!cfg.tables.steps || paused)
		return 0;
	in = *found;
	in.rule = rule.handle;
	in.step = step.type;
	slot = begin_tracepoint();
	if (!slot)
		return 0;
	emit_verdict(ctx, addr, &in, code, slot);
	end_tracepoint();
	return 0;
}

/* Of ebtables; at a chain's policy it is what is behind the chain, of the last one the end. */
static __noinline __u64 placed_bridge_rule(__u64 base, __u64 entry)
{
	__u64 info = read_pointer(base + cfg.tables.eb_private);
	__u64 at = read_pointer(info + cfg.tables.eb_entries);

	if (entry < at || entry - at > read_u32((const void *)(info + cfg.tables.eb_size)))
		return 0;
	return entry - at + 1;
}

/* A rule of x_tables, as a record has it; 0: it is none of this table. */
static __always_inline __u64 placed_rule(const struct inside *in, __u64 entry)
{
	__u64 info = read_pointer(in->base + cfg.tables.xt_private);
	__u64 at = info + cfg.tables.info_entries;

	if (entry < at || entry - at >= read_u32((const void *)(info + cfg.tables.info_size)))
		return 0;
	return entry - at + 1;
}

/*
 * Where ipt_do_table() has found a rule that matches, and looks whether the packet is to be traced.
 * What the rule says of it is in the rule.
 */
static __noinline int note_match(struct pt_regs *ctx, __u64 entry, __u16 frame)
{
	__u64 key = CTX_FIELD(ctx, sp) + frame, addr;
	__u64 *at = bpf_map_lookup_elem(&inside_at, &key);
	struct inside *found, in;
	__u32 slot;

	if (!at || paused)
		return 0;
	addr = *at;
	found = bpf_map_lookup_elem(&inside_of, &addr);
	if (!found || found->sp != key)
		return 0;
	in = *found;
	if (in.replaced != replaced(0))
		in.replaced = 0;
	in.rule = placed_rule(&in, entry);
	in.step = STEP_RULE;
	slot = begin_tracepoint();
	if (!slot)
		return 0;
	emit_verdict(ctx, addr, &in, NFT_CONTINUE, slot);
	end_tracepoint();
	return 0;
}

/*
 * Where ipt_do_table() and its like have decided and let soft interrupts in again: the registers still
 * have the rule, the frame still has whether a match dropped the packet; then the rule is another one.
 */
static __noinline int note_site(struct pt_regs *ctx, __u64 entry, __u16 frame, __u16 hot)
{
	__u64 sp = CTX_FIELD(ctx, sp), key = sp + frame, addr;
	__u64 *found = bpf_map_lookup_elem(&inside_at, &key);
	struct inside *in;

	if (!found)
		return 0;
	addr = *found;
	in = bpf_map_lookup_elem(&inside_of, &addr);
	if (!in || in->sp != key)
		return 0;
	in->hot = read_u8((const void *)(sp + hot));
	if (!in->replaced || in->replaced != replaced(0)) {
		in->replaced = 0;
		return 0;
	}
	if (!in->hot)
		in->rule = in->eb ? placed_bridge_rule(in->base, entry) : placed_rule(in, entry);
	return 0;
}

static __always_inline __u64 rule_register(struct pt_regs *ctx, __u8 name)
{
	switch (name) {
	case RULE_BX: return CTX_FIELD(ctx, bx);
	case RULE_BP: return CTX_FIELD(ctx, bp);
	case RULE_R12: return CTX_FIELD(ctx, r12);
	case RULE_R13: return CTX_FIELD(ctx, r13);
	case RULE_R14: return CTX_FIELD(ctx, r14);
	default: return CTX_FIELD(ctx, r15);
	}
}

/* A packet is dropped: by the table that it is in? nf_tables frees what it drops (6.12). */
static __noinline int drop_in_table(void *ctx, __u64 addr, __u32 slot)
{
	struct inside *found = bpf_map_lookup_elem(&inside_of, &addr), in;

	if (!found)
		return 0;
	in = *found;
	bpf_map_delete_elem(&inside_of, &addr);
	if (in.cpu == bpf_get_smp_processor_id() && bpf_ktime_get_ns() - in.ts_ns < WITHIN_NS)
		emit_verdict(ctx, addr, &in, NF_DROP, slot);
	return 0;
}

#endif
