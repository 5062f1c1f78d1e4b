# SPDX-License-Identifier: Apache-2.0
"""Structures shared with the kernel side, packed and unpacked; ``contract`` says where what is."""

from __future__ import annotations

import builtins
import struct
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..facts.tables import NO_TABLES, TableLayout
from . import contract


class Layout(struct.Struct):
    """A structure in host byte order. ``names``: its members, in the order they are unpacked."""

    def __init__(self, members: contract.Members, size: int) -> None:
        text = "="
        for _, offset, code in (*members, ("", size, "")):
            gap = offset - struct.calcsize(text)
            text += f"{gap}x{code}" if gap else code
        super().__init__(text)
        self.names = tuple(name for name, _, _ in members)

    def pack_members(self, **values: Any) -> bytes:
        """Each member by its name; an array as a tuple."""
        flat: list[Any] = []
        for name in self.names:
            value = values[name]
            flat.extend(value if isinstance(value, tuple) else (value,))
        return self.pack(*flat)


EVENT = Layout(contract.EVENT, contract.EVENT_BYTES)
TUPLE = Layout(contract.EVENT_TUPLE, contract.EVENT_TUPLE_BYTES)
NEEDS = Layout(contract.NEEDS, contract.NEEDS_BYTES)
FLOW_KEY = Layout(contract.FLOW_KEY, contract.FLOW_KEY_BYTES)
DROP_KEY = Layout(contract.DROP_KEY, contract.DROP_KEY_BYTES)
TABLE_VERDICT = Layout(contract.TABLE_VERDICT, contract.TABLE_VERDICT_BYTES)
TABLES = Layout(contract.TABLES, contract.TABLES_BYTES)
PACKET_HEAD = Layout(contract.PACKET_HEAD, contract.PACKET_HEAD_BYTES)
CONNTRACKED = Layout(contract.CONNTRACKED, contract.CONNTRACKED_BYTES)
CONNTRACK = Layout(contract.CONNTRACK, contract.CONNTRACK_BYTES)
ARRIVAL = Layout(contract.ARRIVAL, contract.ARRIVAL_BYTES)
SOCKET_OWNER = Layout(contract.SOCKET_OWNER, contract.SOCKET_OWNER_BYTES)
MAP_ACCESS = Layout(contract.MAP_ACCESS, contract.MAP_ACCESS_BYTES)
CONFIG = Layout(contract.CONFIG, contract.CONFIG_BYTES)

STACK = struct.Struct(f"={contract.STACK_MAX}Q")
CALLER = struct.Struct(f"={contract.CALLER_MAX}Q")
CALL = Layout(contract.CALL_SECTION, contract.CALL_SECTION_BYTES)
_SECTIONS: dict[int, struct.Struct] = {
    contract.SECTION_STACK: STACK,
    contract.SECTION_TABLE: TABLE_VERDICT,
    contract.SECTION_UDP: struct.Struct("=8s"),
    contract.SECTION_ARRIVAL: ARRIVAL,
    contract.SECTION_CALLER: CALLER,
    contract.SECTION_TUNNEL: Layout(contract.TUNNEL, contract.TUNNEL_BYTES),
    contract.SECTION_CB: struct.Struct(f"={contract.CB_WORDS}I"),
    contract.SECTION_CONNTRACK: CONNTRACKED,
    contract.SECTION_HEAD: struct.Struct(f"={contract.PACKET_HEAD_BYTES}s"),
    contract.SECTION_OWNER: SOCKET_OWNER,
    contract.SECTION_CALL: CALL,
    contract.SECTION_MAP: MAP_ACCESS,
}


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """One session's records: the event, then the sections that are asked for, in their order.

    ``section_at``: where each section that there is begins, 0 without it. ``value_at``: the index
    of its first value among those behind the event's, -1 without it. ``bytes``: the size of a
    record, a multiple of 8. ``format``: of all that is in it, as in ``struct``. ``skb_bytes``,
    ``shared_bytes``: of the structures in it, 0 without them.
    """

    section_at: tuple[int, ...]
    value_at: tuple[int, ...]
    bytes: int
    format: str
    skb_bytes: int = 0
    shared_bytes: int = 0

    @classmethod
    def of(
        cls,
        *sections: int,
        metadata_bytes: int = 0,
        skb_bytes: int = 0,
        shared_bytes: int = 0,
        entry_bytes: int = 0,
        xdp_bytes: int = 0,
    ) -> RecordLayout:
        """With these, SECTION_* of the contract, and with raw sections of so many bytes."""
        raw = {
            contract.SECTION_METADATA: _raw(metadata_bytes),
            contract.SECTION_SKB: _raw(skb_bytes),
            contract.SECTION_SHARED: _raw(shared_bytes),
            contract.SECTION_ENTRY: _raw(entry_bytes),
            contract.SECTION_XDP: _raw(xdp_bytes),
        }
        sections += tuple(section for section, each in raw.items() if each.size)
        at, value_at = [0] * contract.SECTION_MAX, [-1] * contract.SECTION_MAX
        size, values, form = EVENT.size, 0, EVENT.format
        for section in sorted({*sections}):
            packed = _SECTIONS.get(section) or raw[section]
            at[section], value_at[section] = size, values
            size += packed.size
            values += len(packed.unpack(builtins.bytes(packed.size)))
            form += packed.format[1:]
        return cls(tuple(at), tuple(value_at), size, form, skb_bytes, shared_bytes)


def _raw(size: int) -> struct.Struct:
    """So many bytes, and what makes them whole words."""
    return struct.Struct(f"={size}s{-size % 8}x")


PLAIN_RECORD = RecordLayout.of()


@dataclass(frozen=True, slots=True)
class FilterNeeds:
    """struct needs: what a spliced filter asks of its frame, see ``CompiledFilter``."""

    bytes: int = 0
    on: bool = False
    link: bool = False
    length: bool = False
    payload: bool = False

    def pack(self) -> builtins.bytes:
        """As ``NEEDS`` lays it out."""
        return NEEDS.pack_members(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class ConntrackSettings:
    """struct conntrack: where its entries have what is read of them, and which packets match."""

    bytes: int = 0
    status: int = 0
    mark_at: int = 0
    states: int = 0
    mark: int = 0
    mark_mask: int = 0
    judges: bool = False

    @property
    def filters(self) -> bool:
        return bool(self.states or self.mark_mask)


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
    tables: TableLayout = NO_TABLES
    conntrack: ConntrackSettings = ConntrackSettings()
    checked: bool = False
    adjacent: bool = False
    func_ip: bool = False
    track: bool = False
    tuple: bool = True
    queue: bool = False
    shared: bool = False
    expression: bool = False
    xdp_expression: bool = False
    drops_hidden: bool = False
    drop_where: bool = False
    drop_reasons: bool = False
    drop_receivers: bool = False
    flows: bool = False
    tracepoint_cookies: bool = False
    typed_task: bool = False
    lives: bool = False
    read_target: int = 0
    inside: bool = False
    by_stack: bool = False
    trampolines: builtins.tuple[int, ...] = (0,) * contract.RETURN_TRAMPOLINES
    hardirq_mask: int = 0
    nmi_mask: int = 0
    cgroup: int = 0
    owner_comm: builtins.bytes = b""
    owner_pid: int = 0
    current_kprobe: int = 0
    preempt_count: int = 0
    per_cpu_offset: int = 0
    page_offset_base: int = 0
    vmemmap_base: int = 0
    record: RecordLayout = PLAIN_RECORD

    @property
    def _meta(self) -> bool:
        return bool(self.netns or self.ifindex or self.mark_mask or self.conntrack.filters)

    @property
    def placed(self) -> bool:
        """Packets are chosen by where they are."""
        return bool(self.netns or self.ifindex)

    @property
    def owned(self) -> bool:
        """Packets are chosen by their sockets."""
        return bool(self.cgroup or self.owner_comm or self.owner_pid)

    @property
    def simple(self) -> bool:
        """Nothing but a pcap filter decides, and no buffer is shared."""
        return self.filter.on and not (
            self._meta
            or self.owned
            or self.track
            or self.expression
            or self.inside
            or self.inner_l2.on
            or self.inner_l3.on
            or self.record.section_at[contract.SECTION_TUNNEL]  # for the stack's sake
            or self.record.section_at[contract.SECTION_CONNTRACK]
            or self.record.section_at[contract.SECTION_OWNER]
            or (self.shared and self.queue)
        )

    def pack(self) -> bytes:
        """The program's read-only data, as ``CONFIG`` lays it out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, FilterNeeds):
                values[name] = value.pack()
        values["tables"] = TABLES.pack_members(**asdict(self.tables))
        values["conntrack"] = CONNTRACK.pack_members(**asdict(self.conntrack))
        return CONFIG.pack_members(
            **values,
            meta=self._meta,
            placed=self.placed,
            owned=self.owned,
            pages=bool(self.page_offset_base and self.vmemmap_base),
            record_bytes=self.record.bytes,
            section_at=self.record.section_at,
            skb_bytes=self.record.skb_bytes,
            shared_bytes=self.record.shared_bytes,
        )
