# SPDX-License-Identifier: Apache-2.0
"""Layout of `struct frame`, which the kernel side fills and the compiled filter reads.

Little-endian, natural alignment:

    offset  0        8        12      16     24
            +--------+--------+-------+------+---------------------+
            | base   | caplen | len   | near | bytes               |
            | u64    | u32    | u32   | u64  | u8                  |
            +--------+--------+-------+------+---------------------+

base: kernel address such that frame byte i, for i >= BASE_VALID_FROM, is at base + i.
caplen: bytes of the frame that are present in linear memory.
len: bytes of the whole frame on the wire; only where the filter asks for it (needs_length).

A *copied* frame has in bytes[FRAME_MAX] its first frame_bytes bytes, without needs_link from
MAC_BYTES on; those from caplen on are anything. near is for the filter to write to.

Where a filter is *flat*, it may be on the stack and has room for FLAT_MAX bytes. There loads must
be aligned, and at offsets that do not vary.

A *viewed* frame stays where it is, for kernels that can read it there (CAST): byte i is at
near + i, for i >= NEAR_VALID_FROM and i < frame_bytes. bytes[VIEW_BYTES] holds what may be nowhere
else: the EtherType, or with needs_link all of them. Three registers have what nearly every filter
asks for, and the frame itself is there only where needs_frame says so. NEAR. PACKET: near as a
pointer. ETHERTYPE: bytes 12 and 13 as the machine loads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BASE_OFFSET: Final = 0
CAPLEN_OFFSET: Final = 8
LEN_OFFSET: Final = 12
NEAR_OFFSET: Final = 16
BYTES_OFFSET: Final = 24
FRAME_MAX: Final = 256
FLAT_MAX: Final = 64
FRAME_STRUCT_SIZE: Final = BYTES_OFFSET + FRAME_MAX
VIEW_BYTES: Final = 24
NEAR: Final = 6
PACKET: Final = 7
ETHERTYPE: Final = 8
VIEW_STRUCT_SIZE: Final = BYTES_OFFSET + VIEW_BYTES

# An Ethernet header with one 802.1Q tag may be synthesised: its bytes are nowhere in the kernel.
BASE_VALID_FROM: Final = 18
NEAR_VALID_FROM: Final = 14
# Least value of frame_bytes when it is not 0.
FRAME_MIN: Final = BASE_VALID_FROM
# Destination and source address of the Ethernet header; then its EtherType.
MAC_BYTES: Final = 12

PROBE_READ_KERNEL: Final = 113  # BPF_FUNC_probe_read_kernel, include/uapi/linux/bpf.h


@dataclass(frozen=True, slots=True)
class Cast:
    """The kernel's bpf_rdonly_cast(): turns an address into a pointer that may be read through.

    func, type: BTF ids, in the running kernel, of the function and of a structure that is nothing
    but an array without length, `struct bpf_raw_tracepoint_args`: loads through a pointer to it may
    have any offset and size, and give 0 where nothing is mapped.
    """

    func: int
    type: int
