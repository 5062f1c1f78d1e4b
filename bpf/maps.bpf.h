/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* --output-bpfmap: what functions of BPF maps are given, and what they find. */
#ifndef PWRU_MAPS_BPF_H
#define PWRU_MAPS_BPF_H

struct bpf_map {
	enum bpf_map_type map_type;
	__u32 id;
	__u32 key_size;
	__u32 value_size;
	char name[16];
} __attribute__((preserve_access_index));

struct htab_elem {
	char key[0];
} __attribute__((preserve_access_index));

/* Functions are seen to return, too: a trampoline's program sees entries alone. */
#define TELLS_MAPS (!TRAMPOLINE && HAS_SECTION(SECTION_MAP))
#define ROUND_UP_8(size) (((size) + 7) & ~7U)

/* Where a value is when the function returns. */
struct found {
	__u64 at;     /* 0: behind what it returns */
	__u16 behind; /* so many bytes */
	bool per_cpu; /* there is the address of what every CPU has one of */
	__u32 bytes;  /* 0: there will be none */
};

/* At most `most` bytes, a power of 2. The verifier of 5.10 wants the mask, and clang not. */
static __always_inline bool read_bytes(void *into, const __u32 most, __u64 size, __u64 from)
{
	if (size >= most)
		return !bpf_probe_read_kernel(into, most, (const void *)from);
	asm volatile("" : "+r"(size));
	return !bpf_probe_read_kernel(into, size & (most - 1), (const void *)from);
}

/* At the function's entry. kind: enum map_function. */
static __noinline int fill_map(struct event *ev, struct pt_regs *ctx, __u32 kind)
{
	struct map_access *access = SECTION(ev, SECTION_MAP);
	__u64 value = kind == MAP_KEY_VALUE ? ARG3(ctx) : kind == MAP_VALUE ? ARG2(ctx) : 0;
	__u64 key = kind == MAP_VALUE || kind == MAP_FILLS ? 0 : ARG2(ctx);
	const struct bpf_map *map = (const void *)ARG1(ctx);

	access->id = 0;
	if (!kind)
		return 0;
	bpf_core_read(&access->id, sizeof(access->id), &map->id);
	bpf_core_read(&access->key_size, sizeof(access->key_size), &map->key_size);
	bpf_core_read(&access->value_size, sizeof(access->value_size), &map->value_size);
	bpf_core_read(access->name, sizeof(access->name), &map->name);
	access->has_key = key && read_bytes(access->key, MAP_KEY_MAX, access->key_size, key);
	access->has_value = value &&
			    read_bytes(access->value, MAP_VALUE_MAX, access->value_size, value);
	return 0;
}

/* What to look for when it returns. The value of a map of maps is one, of which programs get nothing. */
static __always_inline void expect_value(struct found *found, struct event *ev, struct pt_regs *ctx,
					 __u32 kind)
{
	struct map_access *access = SECTION(ev, SECTION_MAP);
	const struct bpf_map *map = (const void *)ARG1(ctx);
	__u32 type = 0;

	bpf_core_read(&type, sizeof(type), &map->map_type);
	if (kind < MAP_FILLS || type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	    type == BPF_MAP_TYPE_HASH_OF_MAPS)
		return;
	found->bytes = access->value_size;
	found->per_cpu = kind == MAP_ELEMENT &&
			 (type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH);
	if (kind == MAP_FILLS)
		found->at = ARG2(ctx);
	if (kind == MAP_ELEMENT)
		found->behind =
			bpf_core_field_offset(struct htab_elem, key) + ROUND_UP_8(access->key_size);
}

/* Where it returns. */
static __always_inline void fill_found(struct event *ev, const struct found *found, __u64 returned)
{
	struct map_access *access = SECTION(ev, SECTION_MAP);
	__u64 from = found->at ? found->at : returned + found->behind, area = 0;
	bool done = found->at ? !returned : returned;

	if (found->per_cpu) {
		read_words(&from, (const void *)from, 1);
		read_words(&area,
			   (const void *)(cfg.per_cpu_offset + 8 * bpf_get_smp_processor_id()), 1);
		from += area;
		done = done && cfg.per_cpu_offset;
	}
	access->has_value = done && found->bytes &&
			    read_bytes(access->value, MAP_VALUE_MAX, found->bytes, from);
}

#endif
