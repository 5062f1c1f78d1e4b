/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the kernel side and Python share. build.py makes pwru_py/record/contract.py of
 * it, by way of contract.c. Host byte order unless a field says otherwise.
 */
#ifndef PWRU_EVENT_H
#define PWRU_EVENT_H

#include <linux/types.h>
#include <stdbool.h>

enum limits {
	STACK_MAX = 64,          /* addresses kept of a stack, innermost first */
	SKB_METADATA_MAX = 1024, /* bytes of SECTION_METADATA, and of SECTION_XDP */
	CALLER_MAX = 12,         /* the same, where only a tracepoint's caller is looked for */
	CB_WORDS = 12,           /* of 4 bytes, of skb->cb */
	SKB_MAX = 512,           /* bytes of struct sk_buff, of struct skb_shared_info; */
	SHARED_MAX = 1024, /* what they really have is config.skb_bytes, config.shared_bytes */
	ENTRY_MAX = 512,   /* of struct nf_conn, likewise */
	RETURN_TRAMPOLINES = 4,
	MAP_KEY_MAX = 128,   /* bytes kept of a BPF map's key, */
	MAP_VALUE_MAX = 512, /* of its value */
};

#define FRAME_MAX 256   /* bytes of a packet that a filter may have copied */
#define GATHER_MAX 2048 /* bytes gathered for one that looks into what lies in pages */

enum event_flags {
	EVENT_REASON = 1 << 0,  /* reason is valid */
	EVENT_TRACKED = 1 << 1, /* shown because its skb is followed */
	EVENT_SHARED = 1 << 2,  /* others hold the skb too: freeing it here ends nothing; */
				/* told of functions with a reason, at least */
	EVENT_LINK = 1 << 4,    /* no event: skb is a child of func, both addresses of sk_buffs */
	EVENT_DROP = 1 << 3,    /* of the tracepoint kfree_skb: func is who freed the packet */
	EVENT_TRACEPOINT = 1 << 5, /* of another tracepoint: func is 0, or who called it */
	EVENT_VERDICT = 1 << 7,    /* of a netfilter table that is left: see SECTION_TABLE */
	EVENT_LOCAL = 1 << 6, /* with one of these two: no device has received the packet yet */
	EVENT_RETURN = EVENT_LINK | EVENT_VERDICT,     /* a function has returned: SECTION_CALL */
	EVENT_PROGRAM = EVENT_DROP | EVENT_TRACEPOINT, /* of a BPF program: func is 0 */
	EVENT_INSIDE = EVENT_LINK |
		EVENT_TRACEPOINT, /* of a function that takes no sk_buff: skb is */
				  /* that of the function that it runs within */
};

/* With config.lives: what was at the skb's address before is no more. */
enum event_target {
	TARGET_FIRST = 1 << 30,
};

enum event_context {
	CONTEXT_TASK,
	CONTEXT_SOFTIRQ,
	CONTEXT_HARDIRQ,
	CONTEXT_UNKNOWN,
};

enum event_l3 {
	L3_NONE = 0,
	L3_ARP = 1,
	L3_IPV4 = 4,
	L3_IPV6 = 6,
	L3_MPLS = 7,  /* no IP within: saddr holds the outermost label, host order */
	L3_PPPOE = 8, /* likewise: the session's number */
};

/* What sport and dport of a tuple are. */
enum event_ids {
	IDS_NONE,
	IDS_PORTS,
	IDS_ICMP,      /* an MTU, 0 where an ICMP message tells none; of IPv4 in dport alone */
	IDS_ICMP_ECHO, /* identifier and sequence number of an ICMP message */
	IDS_FRAGMENT,  /* nothing: a later fragment, the header was in the first */
};

struct event_tuple {
	__u8 saddr[16]; /* network order; IPv4 and ARP use the first 4 */
	__u8 daddr[16];
	__be16 sport;
	__be16 dport;
	__u8 l3;        /* enum event_l3 */
	__u8 l4;        /* IP protocol behind all extension headers */
	__u8 ids;       /* enum event_ids */
	__u8 icmp_type; /* of ARP the operation */
};

struct event {
	__u64 ts_ns; /* CLOCK_MONOTONIC */
	__u64 skb;
	__u64 func;   /* entry address of the probed function */
	__u32 pid;    /* thread group */
	__u32 target; /* from the probe's cookie: 1 + index in the plan; 0: func tells; of a BPF */
		      /* program its number in the session; and TARGET_FIRST */
	__u32 netns;  /* inode number, 0 unknown */
	__u32 mark;
	__u32 ifindex; /* 0: skb->dev unset */
	__u32 mtu;     /* bytes */
	__u32 len;     /* skb->len, bytes */
	__u32 reason;
	__u16 proto; /* skb->protocol, turned to host order */
	__u16 cpu;
	__u8 flags;
	__u8 context;
	__u8 tcp_flags;
	__u8 stack_len; /* addresses in the record's stack */
	char comm[16];
	char ifname[16];
	struct event_tuple tuple;
};

/*
 * What a record has behind its event, each in this order if Python has set where it begins
 * (config.section_at): a session's records all have the same sections, and so the same size.
 */
enum section {
	SECTION_STACK, /* STACK_MAX addresses of 8 bytes */
	SECTION_TABLE, /* struct table_verdict; undefined but with EVENT_VERDICT */
	SECTION_UDP,   /* the first 8 bytes behind a UDP header, 0 where they are not there; */
	/* undefined but with IDS_PORTS of UDP */
	SECTION_ARRIVAL,  /* struct arrival; undefined with EVENT_VERDICT */
	SECTION_METADATA, /* of --output-skb-metadata; as long as Python says */
	SECTION_XDP,      /* of --output-xdp-metadata; likewise; undefined but at XDP */
	SECTION_CALLER, /* where the function returns to, 0 not known; with EVENT_TRACEPOINT a stack */
	/* of CALLER_MAX addresses, or 0; with EVENT_PROGRAM so many words of the trampoline's */
	/* stack; undefined with EVENT_DROP */
	SECTION_TUNNEL,    /* struct tunnel */
	SECTION_CB,        /* skb->cb */
	SECTION_SKB,       /* struct sk_buff, config.skb_bytes of it */
	SECTION_SHARED,    /* struct skb_shared_info, config.shared_bytes of it */
	SECTION_HEAD,      /* struct packet_head; undefined with EVENT_VERDICT */
	SECTION_CONNTRACK, /* struct conntracked */
	SECTION_ENTRY, /* struct nf_conn, config.conntrack.bytes of it; undefined unless has_entry */
	SECTION_OWNER, /* struct socket_owner */
	SECTION_CALL,  /* struct call_section */
	SECTION_MAP,   /* struct map_access; undefined but with EVENT_INSIDE and EVENT_RETURN */
	SECTION_MAX,
};

#define NAME_MAX 32 /* bytes of a name, with a zero at the end */

/* NFT_TRACETYPE_* (include/uapi/linux/netfilter/nf_tables.h): what a packet meets on its way. */
enum nft_step {
	STEP_POLICY = 1, /* of the base chain */
	STEP_END,        /* of a chain, or a rule that returns from it */
	STEP_RULE,       /* one that matched; its verdict is NFT_CONTINUE where it has none */
};

/* What a table, or in nf_tables one of its base chains, has said of a packet. */
struct table_verdict {
	__u64 table_handle; /* of nf_tables: a table that is made again has another one */
	__u64 rule; /* handle of the rule that said so; x_tables: 1 + its bytes from the first one; */
		    /* 0: not known */
	__u64 net_cookie; /* of the namespace: tells it from one that had its inode number before */
	char table[NAME_MAX];
	char chain[NAME_MAX]; /* of nf_tables */
	__u32 verdict;        /* as the function returned it */
	__u8 nft;             /* 0: x_tables */
	__u8 family;          /* of the table in nf_tables, NFPROTO_* */
	__u8 pf;              /* of the hook, NFPROTO_* */
	__u8 hook;
	__u8 policy;    /* of the base chain: NF_DROP or NF_ACCEPT */
	__u8 hot;       /* x_tables: a match dropped it, and not a rule's target */
	__u8 step;      /* enum nft_step; 0: the verdict of the whole */
	__u8 by_policy; /* of nf_tables: seen to have decided */
	__u32 replaced; /* x_tables: how many sets of rules had been replaced, nf_tables: how many */
			/* transactions had been; 0: one was, meanwhile */
};

/* By what a packet has come. */
struct arrival {
	__u32 tag; /* VLAN_TAGGED and the tag's control information, 0 without a tag */
	__u32 iif; /* skb->skb_iif: the index of the device that received it last, 0: none has */
};

/* The packet that a tunnel's packet carries. */
struct tunnel {
	struct event_tuple tuple; /* L3_NONE: there is none, or its headers are not certain */
	__u8 tcp_flags;
	__u8 unused[7];
};

/*
 * Which call of a function an event belongs to: `sp` and when it was entered. With EVENT_RETURN
 * only this, the time, the CPU and the sk_buff are told, as the packet may be freed by then.
 */
struct call_section {
	__u64 sp;         /* where the function's return address lies; 0: no function is entered */
	__u64 entered_ns; /* with EVENT_RETURN: ts_ns of the event at its entry; else 0 */
	__u64 value;      /* with EVENT_RETURN: the register of returned values */
	__u32 thread;     /* 0: a CPU's idle one */
	__u32 unused;
};

/* What a function of BPF maps, whose first argument is the map, has beside it. */
enum map_function {
	MAP_NONE,      /* it is no such function */
	MAP_KEY,       /* (map, key) */
	MAP_KEY_VALUE, /* (map, key, value) */
	MAP_VALUE,     /* (map, value) */
	MAP_FILLS,     /* the same: the value is there when it returns 0 */
	MAP_FINDS,     /* (map, key): it returns where the value is */
	MAP_ELEMENT,   /* the same: where the element of a hash table is that has key and value */
};

/* The map that such a function works on; with EVENT_RETURN the value alone is told. */
struct map_access {
	__u32 id;       /* 0: there is none, as the function is another one */
	__u32 key_size; /* bytes, of the whole key, of the whole value */
	__u32 value_size;
	bool has_key; /* the first MAP_KEY_MAX bytes of it are there, the first MAP_VALUE_MAX */
	bool has_value;
	__u8 unused[2];
	char name[16];
	__u8 key[MAP_KEY_MAX];
	__u8 value[MAP_VALUE_MAX];
};

/* Which process has made the packet's socket; all zeros: not known. */
struct socket_owner {
	__u32 pid; /* thread group */
	__u32 unused;
	char comm[16]; /* of the process, which is that of its first thread; zeros behind it */
};

#define HEAD_BYTES 192

/* What follows the link header of a packet. */
struct packet_head {
	__u16 proto;     /* EtherType of it */
	__u16 caplen;    /* bytes that the linear memory has of it, HEAD_BYTES at most */
	__u16 tag_proto; /* of a VLAN tag in the metadata, 0 without one */
	__u16 tag_tci;
	__u8 bytes[HEAD_BYTES]; /* those past caplen are undefined */
};

/*
 * What a packet is to conntrack; of the first ones exactly one. A filter's set of them has bit
 * 1 << state for each.
 */
enum ct_state {
	CT_UNTOLD, /* the packet has given its entry back */
	CT_NONE,   /* it has none: conntrack has not had it, or what it said is not known */
	CT_NEW,
	CT_ESTABLISHED,
	CT_RELATED,
	CT_INVALID, /* it has none: conntrack has had it, in this place, and let it go without one */
	CT_UNTRACKED,
	CT_TEMPLATE, /* a template, for conntrack to begin with */
	CT_SNAT,     /* of filters alone: the entry has these bits of its status */
	CT_DNAT,
};

#define WHY_MAX 64 /* bytes of a reason, with a zero at the end */

struct conntracked {
	__u8 state; /* enum ct_state */
	bool reply; /* in the direction of the answer */
	bool has_entry;
	__u8 unused[5];
	char why[WHY_MAX]; /* with CT_INVALID what the kernel would log; empty: it says nothing */
};

struct record { /* with every section, as long as it can be */
	struct event event;
	__u64 stack[STACK_MAX];
	struct table_verdict table;
	__u8 udp[8];
	struct arrival arrival;
	__u8 metadata[SKB_METADATA_MAX];
	__u8 xdp[SKB_METADATA_MAX];
	__u64 caller[CALLER_MAX];
	struct tunnel tunnel;
	__u32 cb[CB_WORDS];
	__u8 skb[SKB_MAX];
	__u8 shared[SHARED_MAX];
	struct packet_head head;
	struct conntracked conntracked;
	__u8 entry[ENTRY_MAX];
	struct socket_owner owner;
	struct call_section call;
	struct map_access map;
};

/* IEEE 802.1Q: priority, drop eligible, identifier. */
enum arrival_tag {
	VLAN_ID = 0xfff,
	VLAN_TAGGED = 1 << 16,
};

/* What a pcap filter asks of its frame; see filters/pwru_filters/compiler.py. */
struct needs {
	__u16 bytes;  /* of the frame, where it is copied */
	bool on;      /* the filter has been spliced in */
	bool link;    /* bytes below 18 other than the EtherType */
	bool length;  /* of the whole frame */
	bool payload; /* it may look behind the headers */
};

/*
 * Where ipt_do_table() and its like have the rule when all is decided, see
 * pwru_py/arch/x86_64_sites.py; as instructions number registers.
 */
enum rule_register {
	RULE_BX = 3,
	RULE_BP = 5,
	RULE_R12 = 12,
	RULE_R13,
	RULE_R14,
	RULE_R15,
};

/*
 * Where netfilter's structures have what tables.bpf.h reads: bytes from the start. They are those of
 * modules, to whose BTF libbpf would not relocate.
 */
struct tables {
	__u16 xt_name; /* of struct xt_table */
	__u16 xt_private;
	__u16 info_entries; /* of struct xt_table_info */
	__u16 info_size;
	__u16 eb_name; /* of struct ebt_table */
	__u16 eb_private;
	__u16 eb_entries; /* of struct ebt_table_info */
	__u16 eb_size;
	__u16 frame4; /* ipt_do_table(): bytes from the stack pointer to the return address; 0: */
	__u16 frame6; /* not known; ip6t_do_table() */
	__u16 frame_arp; /* arpt_do_table() */
	__u16 frame_eb;  /* ebt_do_table() */
	__u16 hot4;      /* from the stack pointer to whether a match has dropped it */
	__u16 hot6;
	__u16 hot_arp;
	__u16 hot_eb;
	__u8 rule4; /* enum rule_register */
	__u8 rule6;
	__u8 rule_arp;
	__u8 rule_eb;
	__u16 chain_table; /* of struct nft_chain */
	__u16 chain_name;
	__u16 table_name; /* of struct nft_table */
	__u16 table_family;
	__u16 table_handle;
	__u16 packet_state;   /* of struct nft_pktinfo */
	__u16 policy_before;  /* of struct nft_base_chain: bytes from its policy to its chain */
	__u16 immediate_dreg; /* of struct nft_immediate_expr */
	__u16 ops_size;       /* of struct nft_expr_ops */
	__u16 info_packet;    /* of struct nft_traceinfo, where it has them: until 6.4 */
	__u16 info_rule;
	__u16 info_verdict;
	bool info_first;  /* __nft_trace_packet(info, chain, type): until then */
	bool steps;       /* each has a record */
	bool rules_plain; /* a chain's rules are struct nft_rule: until 5.16, 2c865a8a28a1 */
	bool skb_second;  /* ipt_do_table(priv, skb, state), 5.16, commit 8844e01062dd */
	bool on;
};

/* Where struct nf_conn has what conntrack.bpf.h reads, bytes from the start; what is asked of it. */
struct conntrack {
	__u16 bytes;  /* of it that a record takes */
	__u16 status; /* IPS_* */
	__u16 mark_at;
	__u16 states;    /* a filter: bits of enum ct_state; 0: any */
	__u32 mark;      /* a filter */
	__u32 mark_mask; /* 0: any */
	bool judges;     /* probes in nf_conntrack_in() tell what is invalid */
};

/* Set by Python before loading; the verifier removes what is off. */
struct config {
	__u32 netns;   /* inode number, 0: any */
	__u32 ifindex; /* 0: any */
	__u32 mark;
	__u32 mark_mask;               /* 0: any */
	__u32 record_bytes;            /* of each record, sections and all */
	__u16 section_at[SECTION_MAX]; /* from the record's start; 0: not in this session */
	__u16 skb_bytes;               /* of struct sk_buff; 0: not in this session */
	__u16 shared_bytes;            /* of struct skb_shared_info */
	struct needs filter;
	struct needs inner_l2; /* for a tunnel's inner packet */
	struct needs inner_l3;
	struct tables tables;
	struct conntrack conntrack;
	bool meta;     /* netns, ifindex, mark_mask or a filter of conntrack is set */
	bool checked;  /* where functions have their sk_buffs is not said by the kernel itself */
	bool adjacent; /* fields of the sk_buff lie side by side, see headers.bpf.h */
	bool func_ip;  /* bpf_get_func_ip() tells the function */
	bool track;
	bool placed;         /* netns or ifindex is set */
	bool expression;     /* a field expression has been spliced in */
	bool xdp_expression; /* one for frames at XDP */
	bool tuple;
	bool queue;              /* events go to the queue, not to the ring */
	bool pages;              /* the two addresses below are known */
	bool shared;             /* TRAMPOLINE: several programs of ours run at functions */
	bool drops_hidden;       /* counted, and not recorded */
	bool drop_where;         /* drops are counted by namespace and interface, too */
	bool drop_reasons;       /* the tracepoint kfree_skb is given one */
	bool drop_receivers;     /* and the socket that was to have the packet */
	bool flows;              /* drops are counted by flow, too */
	bool tracepoint_cookies; /* a link to a raw tracepoint has one */
	bool typed_task;         /* the current task's type can be had from the kernel's own BTF */
	__u32 hardirq_mask;      /* bits of the preempt count that tell of hard interrupts */
	__u32 nmi_mask;          /* of NMIs */
	__u64 cgroup;            /* id; packets of its sockets alone. 0: any */
	char owner_comm[16];     /* of sockets that processes of this name made; empty: any */
	__u32 owner_pid;         /* that this process made; 0: any */
	bool owned;              /* one of these three is set */
	bool lives;              /* see lives.bpf.h */
	__u32 read_target;       /* by which note_read() tells: that of skb_copy_datagram_iovec */
	bool inside;             /* see inside.bpf.h */
	bool by_stack; /* what functions with another sk_buff do there is the packet's, too */
	__u64 trampolines[RETURN_TRAMPOLINES]; /* which other tracers of returns put in its place */
	__u64 current_kprobe;   /* as the next; 0: bpf_get_func_ip() tells which function returns */
	__u64 preempt_count;    /* from the start of a CPU's area; 0: not known */
	__u64 per_cpu_offset;   /* address of the kernel's variable: where each area starts */
	__u64 page_offset_base; /* addresses of the kernel's variables of these names */
	__u64 vmemmap_base;
};

/* What a trampoline's probe carries: 1 + the function's index in the plan, argument slots. */
enum cookie {
	COOKIE_REASON_SHIFT = 4,
	COOKIE_TARGET_SHIFT = 8,
	COOKIE_NO_SKB = 15,    /* as its COOKIE_SKB_ARG: the function takes none; then */
			       /* COOKIE_REASON_ARG is of enum map_function */
	COOKIE_NO_REASON = 15, /* as its COOKIE_REASON_ARG: frees, and says not why */
};
#define COOKIE_TARGET(cookie) ((__u32)((cookie) >> COOKIE_TARGET_SHIFT))
#define COOKIE_ARGUMENTS(cookie) ((__u8)(cookie))
#define COOKIE_REASON_ARG(cookie) \
	((__u32)((cookie) >> COOKIE_REASON_SHIFT & 0xf)) /* 0: frees nothing */
#define COOKIE_SKB_ARG(cookie) ((__u32)((cookie) & 0xf))

/* A kprobe's address tells the same: a table of COOKIE_ARGUMENTS by the instruction pointer. */
enum arguments_table {
	ARGUMENTS_BITS = 16,
	ARGUMENTS_HASH = 0x61c88647, /* Knuth, TAOCP 6.4; positive, to be an operand */
	ARGUMENTS_CROWDED = 0xff,
};

/*
 * What drops are counted by: who freed the packet, and why (-1 where the kernel has no reasons);
 * with config.drop_where also where the packet was, else 0. empty: no byte of it was left.
 */
struct drop_key {
	__u64 location;
	__u32 reason;
	__u32 empty;
	__u64 netns; /* inode number, 0 unknown */
	char ifname[16];
};

/* The same by flow. */
struct flow_key {
	struct drop_key drop;
	struct event_tuple tuple;
};

/* In a copy of a program for one tracepoint or BPF program, its number takes the place of this. */
enum copy {
	COPY_MARK = 0x436f7079,
};

/* In a program of a kprobe session: a call of the kernel's function takes the place of each. */
enum session {
	SESSION_IS_RETURN = 0x73657352, /* bpf_session_is_return() */
	SESSION_COOKIE = 0x73657343,    /* bpf_session_cookie() */
};

/* Per-CPU counters, index of the map "counters". */
enum counter {
	COUNT_BUFFER_FULL, /* matched, but the ring or queue was full */
	COUNT_TRACK_FULL,  /* a packet could not be followed */
	COUNT_TRACK_NEW,   /* packets followed */
	COUNT_TRACK_END,   /* of these, forgotten because the address was used anew */
	COUNT_NESTED,      /* hits skipped because another program of ours was running */
	COUNT_DROPS_LEFT,  /* drops that found no room among those that are counted */
	COUNT_TAGGED,      /* hits that match but for the VLAN tag in the metadata */
	COUNT_UNKNOWN,     /* hits skipped because nobody knows the function's arguments */
	COUNT_CALLS,       /* of functions whose return is waited for */
	COUNT_RETURNS,     /* of these, that have returned */
	COUNT_NO_SKB,      /* hits skipped because what the function got cannot be an sk_buff */
	COUNT_MAX,
};

/*
 * What the pcap filter sees: the Ethernet frame that tcpdump would have
 * captured, rebuilt where the kernel has no link header (yet).
 */
struct frame {
	__u64 base;   /* frame byte i (i >= 18) is at kernel address base + i */
	__u32 caplen; /* bytes of the frame in linear memory */
	__u32 len;    /* bytes of the whole frame */
	__u64 near;   /* typed loads: byte i (14 <= i < FRAME_MAX) is at near + i */
	__u8 bytes[2 * GATHER_MAX];
};

#endif
