/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether a hit is recorded: conditions beside the pcap filter, followed packets. */
#ifndef PWRU_DECIDE_BPF_H
#define PWRU_DECIDE_BPF_H

static __always_inline bool place_matches(const struct place_of *place)
{
	return (!cfg.netns || place->netns == cfg.netns) &&
	       (!cfg.ifindex || place->ifindex == cfg.ifindex);
}

/* What a device says is kept for when there is none; the socket then is the sender's, perhaps. */
static __always_inline bool device_matches(__u64 addr, struct net_device *dev, __u32 netns)
{
	struct place_of place = {.netns = netns, .ifindex = FIELD(dev, ifindex)};

	if (place_matches(&place)) {
		bpf_map_update_elem(&places, &addr, &place, BPF_ANY);
		return true;
	}
	bpf_map_delete_elem(&places, &addr);
	return false;
}

/* Cheap conditions first. */
static __always_inline bool meta_matches(__u64 addr)
{
	struct sk_buff *skb = VIEW((struct sk_buff *)addr);
	const struct place_of *place;
	struct net_device *dev;
	struct where where;

	if (cfg.mark_mask && (FIELD(skb, mark) & cfg.mark_mask) != cfg.mark)
		return false;
	if ((cfg.conntrack.states || cfg.conntrack.mark_mask) && !ct_matches(addr))
		return false;
	if (!cfg.netns && !cfg.ifindex)
		return true;
	if (!look_where(skb, &where))
		return false;
	dev = where.dev;
	if (dev)
		return device_matches(addr, dev, where.netns);
	place = bpf_map_lookup_elem(&places, &addr);
	if (place)
		return place_matches(place);
	return !cfg.ifindex && where.netns == cfg.netns;
}

/* For decide(), where neither device nor sender tell the namespace; true: end_receiver() is due. */
static __always_inline bool begin_receiver(struct bpf_raw_tracepoint_args *ctx)
{
	struct place_of place = {.netns = cfg.netns};
	__u64 addr = ctx->args[KFREE_SKB];

	if (!cfg.netns || cfg.ifindex || receiver_netns(ctx) != cfg.netns)
		return false;
	return !bpf_map_update_elem(&places, &addr, &place, BPF_NOEXIST);
}

static __always_inline void end_receiver(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 addr = ctx->args[KFREE_SKB];

	bpf_map_delete_elem(&places, &addr);
}

/* Conditions beside the pcap filter, and packets that are followed. */
static __noinline __u64 decide(__u64 addr, __u32 slot)
{
	if (!addr)
		return REJECT;
	if (cfg.track && is_followed(addr)) {
		if (cfg.owned)
			note_way(addr, slot);
		return FOLLOWED;
	}
	if (cfg.meta && !meta_matches(addr))
		return REJECT;
	if (cfg.filter.on && !pcap_filter(addr, slot))
		return REJECT;
	if ((cfg.inner_l2.on || cfg.inner_l3.on) && !inner_matches(addr, slot))
		return REJECT;
	if (cfg.expression && !skb_expression(addr))
		return REJECT;
	if (cfg.owned && !is_owned(addr, slot))
		return REJECT;
	if (cfg.track && !paused) {
		follow(addr);
		if (cfg.owned)
			note_way(addr, slot);
	}
	return MATCH;
}

#endif
