/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether a hit is recorded: conditions beside the pcap filter, followed packets. */
#ifndef PWRU_DECIDE_BPF_H
#define PWRU_DECIDE_BPF_H

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

#endif
