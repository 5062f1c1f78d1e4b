# SPDX-License-Identifier: Apache-2.0
"""The Python twin of ``bpf/event.h``: layouts shared with the kernel side, in host byte order."""

from __future__ import annotations

import builtins
import struct
from dataclasses import dataclass

STACK_MAX = 64
"""Addresses kept of a stack, innermost first."""

EVENT = struct.Struct("=QQQ8I2H4B16s16s40s")
"""struct event: ts_ns skb func; pid target netns mark ifindex mtu len reason; proto cpu; flags
context tcp_flags stack_len; comm ifname; tuple."""

TUPLE = struct.Struct("=16s16sHHBBBB")
"""struct event_tuple: saddr daddr; sport dport (as on the wire); l3 l4 ids icmp_type."""

STACK = struct.Struct(f"={STACK_MAX}Q")

NEEDS = struct.Struct("=H4?")
"""struct needs, see ``FilterNeeds``."""

CONFIG = struct.Struct("=4I6s6s6s9?5xQQ")
"""struct config, see ``KernelConfig``."""

COOKIE_TARGET_SHIFT, COOKIE_REASON_SHIFT, COOKIE_NO_REASON = 8, 4, 15
"""A probe's cookie: 1 + the function's index in the plan; the drop reason's argument register or
slot, 0 without, COOKIE_NO_REASON of one that frees without; in the lowest bits the sk_buff's."""

ARGUMENTS_BITS, ARGUMENTS_HASH, ARGUMENTS_CROWDED = 16, 0x61C88647, 0xFF
"""The table of cookies' lowest bytes by probe address, see ``attach.argument_table``."""

EVENT_REASON = 1
EVENT_TRACKED = 2
EVENT_SHARED = 4

L3_ARP, L3_IPV4, L3_IPV6 = 1, 4, 6

IDS_NONE, IDS_PORTS, IDS_ICMP, IDS_ICMP_ECHO, IDS_FRAGMENT = range(5)

COUNT_BUFFER_FULL, COUNT_TRACK_FULL, COUNT_TRACK_NEW, COUNT_TRACK_END = range(4)
COUNT_NESTED, COUNT_UNKNOWN = 4, 5


assert (EVENT.size, TUPLE.size, CONFIG.size) == (136, 40, 64)


@dataclass(frozen=True, slots=True)
class FilterNeeds:
    """struct needs: what a spliced filter asks of its frame, see ``CompiledFilter``."""

    bytes: int = 0
    on: bool = False
    link: bool = False
    length: bool = False
    payload: bool = False

    def pack(self) -> builtins.bytes:
        """6 bytes."""
        return NEEDS.pack(self.bytes, self.on, self.link, self.length, self.payload)


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """struct config, field by field: what the loaded program does."""

    netns: int = 0
    ifindex: int = 0
    mark: int = 0
    mark_mask: int = 0
    filter: FilterNeeds = FilterNeeds()
    inner_l2: FilterNeeds = FilterNeeds()
    inner_l3: FilterNeeds = FilterNeeds()
    adjacent: bool = False
    func_ip: bool = False
    track: bool = False
    tuple: bool = True
    stack: bool = False
    queue: bool = False
    shared: bool = False
    page_offset_base: int = 0
    vmemmap_base: int = 0

    @property
    def _meta(self) -> bool:
        return bool(self.netns or self.ifindex or self.mark_mask)

    @property
    def simple(self) -> bool:
        """Nothing but a pcap filter decides, and no buffer is shared."""
        return self.filter.on and not (
            self._meta
            or self.track
            or self.inner_l2.on
            or self.inner_l3.on
            or (self.shared and self.queue)
        )

    def pack(self) -> bytes:
        """The 64 bytes of the program's read-only data."""
        return CONFIG.pack(
            self.netns, self.ifindex, self.mark, self.mark_mask, self.filter.pack(),
            self.inner_l2.pack(), self.inner_l3.pack(), self._meta, self.adjacent,
            self.func_ip, self.track, self.tuple, self.stack, self.queue,
            bool(self.page_offset_base and self.vmemmap_base), self.shared,
            self.page_offset_base, self.vmemmap_base,
        )  # fmt: skip

    @property
    def record_bytes(self) -> int:
        """Size of one record, a multiple of 8."""
        return EVENT.size + (STACK.size if self.stack else 0)
