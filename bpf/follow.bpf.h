/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets that are followed, whatever the filter says: --filter-track-skb; and where packets were
 * that have lost their device.
 */
#ifndef PWRU_FOLLOW_BPF_H
#define PWRU_FOLLOW_BPF_H

/*
 * Followed packets by skb address. Nobody deletes at free, so that the
 * functions that free a packet are still shown; the address is forgotten when
 * the allocator hands it out again (alloc_* below). Full: the least recently
 * seen packet gives way; user space learns of it from TRACK_NEW - TRACK_END.
 */
struct followed {
	__u32 came; /* of watch(), else 0 */
	__u32 len;  /* of note_way(): what the packet was when it matched; 0: not noted */
	__u32 l4;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct followed);
} tracked SEC(".maps");

static __always_inline void follow(__u64 addr)
{
	struct followed none = {};

	if (bpf_map_update_elem(&tracked, &addr, &none, BPF_ANY))
		count(COUNT_TRACK_FULL);
	else
		count(COUNT_TRACK_NEW);
}

/*
 * Where a packet was that matched a namespace or an interface, by skb address: TCP clears skb->dev
 * long before it drops a packet. Written while the device says so, deleted when it says otherwise
 * and when the allocator hands the address out again. Full: the least recently seen gives way.
 */
struct place_of {
	__u32 netns;
	__u32 ifindex;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set by Python */
	__type(key, __u64);
	__type(value, struct place_of);
} places SEC(".maps");

static __always_inline void forget(__u64 addr)
{
	if (cfg.track && !bpf_map_delete_elem(&tracked, &addr))
		count(COUNT_TRACK_END);
	if (cfg.placed)
		bpf_map_delete_elem(&places, &addr);
	if (cfg.conntrack.judges)
		bpf_map_delete_elem(&judged, &addr);
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

enum way {
	ENTERS,
	RECEIVED,
	QUEUED,
	ENDS /* it is read, or freed */
};

/*
 * Where no program may watch the allocator: TCP frees what it has taken in, and GRO what it has
 * joined, and no tracepoint tells. The way does: a packet that is sent, read or freed, and has come by
 * no device is not the one that a device had received at that address; and no packet enters twice by
 * one device. `came`: the index of the device that received it, until it is sent on.
 */
static __always_inline void watch(__u64 addr, enum way way)
{
	struct followed *known = bpf_map_lookup_elem(&tracked, &addr);
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct net_device *dev;
	__u32 ifindex = 0;

	if (!known)
		return;
	if (way == ENTERS || way == RECEIVED) {
		dev = VIEW((struct net_device *)FIELD(skb, dev));
		ifindex = FIELD(dev, ifindex);
	}
	if (way == RECEIVED)
		known->came = ifindex;
	else if (known->came && (way == ENTERS ? known->came == ifindex : !FIELD(skb, skb_iif)))
		forget(addr);
	else if (way != ENDS)
		known->came = 0;
}

/* Tells user space whose child it is; there is no room for that in a queue. */
static __always_inline void tell_parent(__u64 child, __u64 parent)
{
	struct event *ev;

	if (cfg.queue || paused)
		return;
	ev = bpf_ringbuf_reserve(&ring, cfg.record_bytes, 0);
	if (!ev)
		return;
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->skb = child;
	ev->func = parent;
	ev->flags = EVENT_LINK;
	bpf_ringbuf_submit(ev, 0);
}

/* child: has something of parent from here on. Followed already, it stays the packet that it is. */
static __always_inline void follow_child(__u64 child, __u64 parent)
{
	if (!cfg.track || !child || !is_followed(parent) || is_followed(child))
		return;
	follow(child);
	tell_parent(child, parent);
}

/* copy: is as original from here on; whatever was at its address is no more. */
static __always_inline void follow_copy(__u64 copy, __u64 original)
{
	if (!copy)
		return;
	forget(copy);
	follow_child(copy, original);
}

#define FRAGMENTS_MAX 64 /* of 64 KiB, with an MTU of 1280 */

/* Of a packet whose fragments are there already: ip_fraglist_init(). */
static __always_inline void follow_fragments(__u64 addr)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	struct skb_shared_info *shared;
	__u64 child;
	int i;

	if (!cfg.track || !is_followed(addr))
		return;
	shared = VIEW((struct skb_shared_info *)(FIELD(skb, head) + FIELD(skb, end)));
	child = (__u64)FIELD(shared, frag_list);
	for (i = 0; i < FRAGMENTS_MAX && child; i++) {
		follow_child(child, addr);
		skb = VIEW((struct sk_buff *)child);
		child = (__u64)FIELD(skb, next);
	}
}

#endif
