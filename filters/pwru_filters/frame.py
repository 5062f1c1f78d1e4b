# SPDX-License-Identifier: Apache-2.0
"""Layout of `struct frame`, which the kernel side fills and the compiled filter reads.

Little-endian, natural alignment:

    offset  0        8        12      16
            +--------+--------+-------+---------------------+
            | base   | caplen | len   | bytes[FRAME_MAX]    |
            | u64    | u32    | u32   | u8                  |
            +--------+--------+-------+---------------------+

base: kernel address such that frame byte i, for i >= BASE_VALID_FROM, is at base + i.
caplen: bytes of the frame that are present in linear memory.
len: bytes of the whole frame on the wire.
bytes: the first min(frame_bytes, caplen) bytes of the frame; what follows them is stale.
"""

from __future__ import annotations

from typing import Final

BASE_OFFSET: Final = 0
CAPLEN_OFFSET: Final = 8
LEN_OFFSET: Final = 12
BYTES_OFFSET: Final = 16
FRAME_MAX: Final = 256
FRAME_STRUCT_SIZE: Final = BYTES_OFFSET + FRAME_MAX

# An Ethernet header with one 802.1Q tag may be synthesised: its bytes are nowhere in the kernel.
BASE_VALID_FROM: Final = 18
# Least value of frame_bytes when it is not 0.
FRAME_MIN: Final = BASE_VALID_FROM
# Destination and source address of the Ethernet header.
MAC_BYTES: Final = 12

PROBE_READ_KERNEL: Final = 113  # BPF_FUNC_probe_read_kernel, include/uapi/linux/bpf.h
