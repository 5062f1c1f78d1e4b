/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a packet is: its device, its network namespace. */
#ifndef PWRU_WHERE_BPF_H
#define PWRU_WHERE_BPF_H

static __always_inline __u32 net_inum(struct net *net)
{
	if (!net)
		return 0;
	net = VIEW(net);
	return FIELD(net, ns.inum);
}

/* Of a namespace and none before it; 0: not known. */
static __always_inline __u64 net_cookie(struct net *net)
{
	if (!net)
		return 0;
	net = VIEW(net);
	if (bpf_core_field_exists(net->net_cookie))
		return FIELD(net, net_cookie);
	return FIELD(net, hash_mix);
}

/* Where the packet is: a device, a namespace. Both may be unknown. */
struct where {
	struct net_device *dev; /* a VIEW */
	__u32 netns;            /* inode number; of the device, else of the socket */
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

/* The same of an sk_buff of which nothing was read yet; false: it cannot be. */
static __always_inline bool look_where(struct sk_buff *skb, struct where *where)
{
	const struct sk_buff *view = skb;
#if !TYPED_LOADS
	__u64 span[DEV_SPAN];

	if (cfg.adjacent) {
		if (READ_SPAN(skb, dev, sk, span))
			return false;
		view = SPAN_VIEW(span, dev);
	}
#endif
	find_where(skb, view, where);
	return true;
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

/* dev: a VIEW, or NULL. */
static __always_inline void fill_device(struct event *ev, struct net_device *dev)
{
	ev->ifindex = 0;
	ev->mtu = 0;
	if (dev) {
		fill_numbers(ev, dev);
		read_words((__u64 *)ev->ifname, &dev->name, 2);
	} else {
		__builtin_memset(ev->ifname, 0, sizeof(ev->ifname));
	}
}

/* The device that it tells of; NULL: there is none. */
static __always_inline struct net_device *read_where(struct event *ev, struct sk_buff *skb,
						     const struct sk_buff *view)
{
	struct where where;

	find_where(skb, view, &where);
	ev->netns = where.netns;
	fill_device(ev, where.dev);
	return where.dev;
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

#endif
