/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What of a packet lies in pages, behind its linear part: for filters that look at payload. */
#ifndef PWRU_PAGES_BPF_H
#define PWRU_PAGES_BPF_H

#define FRAGS_READ 4 /* of up to 17; the first hold most of what filters look at */

/* Changes nothing, but tells the verifier. */
#define BELOW_MAX(value) asm volatile("%0 &= %1" : "+r"(value) : "i"(GATHER_MAX - 1))

static __always_inline __u64 read_u64(__u64 addr)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (const void *)addr);
	return value;
}

/* A page of the direct map. */
static __always_inline __u64 page_address(__u64 page)
{
	return PAGE_ADDRESS(page, read_u64(cfg.vmemmap_base), read_u64(cfg.page_offset_base));
}

/*
 * The frame, whose first bytes and fields stand in the buffer, up to GATHER_MAX bytes: the
 * rest of the linear part, then the fragments. From then on the buffer is the frame. Packets
 * chained behind (frag_list) are not read.
 */
static __always_inline void gather_frame(struct sk_buff *skb, const struct headers *h,
					 struct frame *frame)
{
	const void *shared = h->head + FIELD(skb, end);
	const __u32 frags = bpf_core_field_offset(struct skb_shared_info, frags);
	const __u32 count = bpf_core_field_offset(struct skb_shared_info, nr_frags);
	__u32 at = frame->caplen, size, i;
	__u8 number = read_u8(shared + count);
	struct skb_frag frag;

	if (at >= GATHER_MAX)
		return;
	size = at > 18 ? at - 18 : 0;
	BELOW_MAX(size);
	bpf_probe_read_kernel(frame->bytes + 18, size, (const void *)frame->base + 18);
#pragma unroll
	for (i = 0; i < FRAGS_READ; i++) {
		if (i >= number || at >= GATHER_MAX)
			break;
		if (bpf_probe_read_kernel(&frag, sizeof(frag), shared + frags + i * sizeof(frag)))
			break;
		if (!frag.netmem || frag.netmem & 1)
			break;
		size = frag.len < GATHER_MAX - at ? frag.len : GATHER_MAX - at;
		BELOW_MAX(at);
		BELOW_MAX(size);
		if (bpf_probe_read_kernel(frame->bytes + at, size,
					  (const void *)page_address(frag.netmem) + frag.offset))
			break;
		at += size;
	}
	frame->caplen = at;
	frame->near = (__u64)frame->bytes; /* by way of memory the address becomes a number */
	frame->base = *(volatile __u64 *)&frame->near;
}

#endif
