# SPDX-License-Identifier: Apache-2.0
"""``pwru_py/layout.py`` against ``bpf/event.h``, as the compilers of this machine lay it out."""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from pwru_py.record import layout
from pwru_py.record.event import Context
from pwru_py.record.layout import FilterNeeds, KernelConfig

HEADER = Path(__file__).parents[2] / "bpf" / "event.h"
SOURCE = HEADER.read_text()

MEMBERS = {
    "event": (
        layout.EVENT,
        "ts_ns skb func pid target netns mark ifindex mtu len reason proto cpu flags context "
        "tcp_flags stack_len comm ifname tuple",
    ),
    "event_tuple": (layout.TUPLE, "saddr daddr sport dport l3 l4 ids icmp_type"),
    "needs": (layout.NEEDS, " ".join(field.name for field in fields(FilterNeeds))),
    "config": (
        layout.CONFIG,
        "netns ifindex mark mark_mask filter inner_l2 inner_l3 meta adjacent func_ip track "
        " tuple stack queue pages shared page_offset_base vmemmap_base",
    ),
}
CONSTANTS = [
    "EVENT_REASON",
    "EVENT_TRACKED",
    "EVENT_SHARED",
    "L3_ARP",
    "L3_IPV4",
    "L3_IPV6",
    "IDS_NONE",
    "IDS_PORTS",
    "IDS_ICMP",
    "IDS_ICMP_ECHO",
    "IDS_FRAGMENT",
    "COUNT_BUFFER_FULL",
    "COUNT_TRACK_FULL",
    "COUNT_TRACK_NEW",
    "COUNT_TRACK_END",
    "COUNT_NESTED",
    "COUNT_UNKNOWN",
    "ARGUMENTS_BITS",
    "ARGUMENTS_HASH",
    "ARGUMENTS_CROWDED",
    "COOKIE_NO_REASON",
    "STACK_MAX",
]


def offsets(packed: struct.Struct) -> list[tuple[int, int]]:
    """Where each item of the format begins, and its size."""
    items = re.findall(r"(\d*)([a-zA-Z?])", packed.format)
    single = [
        unit
        for count, code in items
        for unit in ([count + code] if code in "sx" else [code] * int(count or 1))
    ]
    found, at = [], 0
    for unit in single:
        size = struct.calcsize("=" + unit)
        if not unit.endswith("x"):
            found.append((at, size))
        at += size
    return found


def printed(compiler: list[str], lines: list[str], folder: Path) -> dict[str, int]:
    """The values of integer expressions, by their text, as a compiler sees them."""
    source = folder / "layout.c"
    prints = "\n".join(f'printf("%s=%llu\\n", "{x}", (unsigned long long)({x}));' for x in lines)
    source.write_text(
        f'#include <stdio.h>\n#include <stddef.h>\n#include "{HEADER}"\n'
        f"#define SIZE(type, member) sizeof(((type *)0)->member)\nint main(void) {{ {prints} }}\n"
    )
    program = folder / "layout"
    subprocess.run([*compiler, str(source), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    pairs = (line.rpartition("=") for line in done.stdout.splitlines())
    return {name: int(value) for name, _, value in pairs}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    wanted = [*CONSTANTS, "sizeof(struct event_with_stack)"]
    wanted += ["offsetof(struct event_with_stack, stack)", "COOKIE_TARGET(0x12345678ULL)"]
    wanted += ["CONTEXT_TASK", "CONTEXT_SOFTIRQ", "CONTEXT_HARDIRQ", "CONTEXT_UNKNOWN"]
    wanted += ["COOKIE_SKB_ARG(0x12345678ULL)", "COOKIE_REASON_ARG(0x12345678ULL)"]
    wanted += ["COOKIE_ARGUMENTS(0x12345678ULL)"]
    for name, (_, members) in MEMBERS.items():
        wanted.append(f"sizeof(struct {name})")
        for member in members.split():
            wanted.append(f"offsetof(struct {name}, {member})")
            wanted.append(f"SIZE(struct {name}, {member})")
    return printed(["clang"], wanted, tmp_path_factory.mktemp("layout"))


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_is_where_python_looks_for_it(name: str, compiled: dict[str, int]) -> None:
    packed, members = MEMBERS[name]
    found = dict(zip(members.split(), offsets(packed), strict=True))
    assert {member: compiled[f"offsetof(struct {name}, {member})"] for member in found} == {
        member: at for member, (at, _) in found.items()
    }
    assert {member: compiled[f"SIZE(struct {name}, {member})"] for member in found} == {
        member: size for member, (_, size) in found.items()
    }
    assert compiled[f"sizeof(struct {name})"] == packed.size


@pytest.mark.parametrize("name", MEMBERS)
def test_no_member_of_the_header_is_left_out(name: str) -> None:
    body = re.search(rf"^struct {name} \{{\n(.*?)^}};", SOURCE, re.MULTILINE | re.DOTALL)
    assert body
    declared = re.findall(r"^\t(?:struct )?\w+ (\w+)(?:\[\d+\])?;", body[1], re.MULTILINE)
    assert [member for member in declared if member != "pad"] == MEMBERS[name][1].split()


def test_the_headers_own_assertions_say_the_same() -> None:
    found = re.findall(
        r'_Static_assert\(sizeof\(struct (\w+)\) == (\d+), "layout.py: (\w+)"\)', SOURCE
    )
    assert {name: int(size) for _, size, name in found} == {
        "EVENT": layout.EVENT.size,
        "TUPLE": layout.TUPLE.size,
        "NEEDS": layout.NEEDS.size,
        "CONFIG": layout.CONFIG.size,
    }


def test_constants(compiled: dict[str, int]) -> None:
    assert {name: compiled[name] for name in CONSTANTS} == {
        name: getattr(layout, name) for name in CONSTANTS
    }
    assert {context: compiled[f"CONTEXT_{context.name}"] for context in Context} == {
        context: context.value for context in Context
    }


def test_records_with_a_stack(compiled: dict[str, int]) -> None:
    plain, stacked = KernelConfig(), KernelConfig(stack=True)
    assert plain.record_bytes == compiled["sizeof(struct event)"]
    assert stacked.record_bytes == compiled["sizeof(struct event_with_stack)"]
    assert compiled["offsetof(struct event_with_stack, stack)"] == layout.EVENT.size
    assert stacked.record_bytes % 8 == plain.record_bytes % 8 == 0


def test_cookies(compiled: dict[str, int]) -> None:
    assert compiled["COOKIE_TARGET(0x12345678ULL)"] == 0x12345678 >> layout.COOKIE_TARGET_SHIFT
    assert compiled["COOKIE_ARGUMENTS(0x12345678ULL)"] == 0x78
    assert compiled["COOKIE_REASON_ARG(0x12345678ULL)"] == 0x7 == 0x78 >> layout.COOKIE_REASON_SHIFT
    assert compiled["COOKIE_SKB_ARG(0x12345678ULL)"] == 0x8


NEEDS = FilterNeeds(78, on=True, link=False, length=True, payload=True)


def test_needs_are_packed_in_the_order_of_their_fields() -> None:
    values = tuple(getattr(NEEDS, field.name) for field in fields(FilterNeeds))
    assert layout.NEEDS.unpack(NEEDS.pack()) == values


def test_a_configuration_is_packed_in_the_order_of_its_fields() -> None:
    given = KernelConfig(1, 2, 3, 4, NEEDS, FilterNeeds(), NEEDS, True, False, True, False, True)
    names = MEMBERS["config"][1].split()
    packed = dict(zip(names, layout.CONFIG.unpack(given.pack()), strict=True))
    derived = [packed.pop(name) for name in ("meta", "pages")]
    assert derived == [True, False]
    assert packed == {
        field.name: value.pack() if isinstance(value, FilterNeeds) else value
        for field in fields(KernelConfig)
        for value in [getattr(given, field.name)]
    }


@pytest.mark.parametrize(
    ("given", "simple"),
    [
        (KernelConfig(filter=NEEDS), True),
        (KernelConfig(), False),
        (KernelConfig(filter=NEEDS, ifindex=3), False),
        (KernelConfig(filter=NEEDS, mark_mask=1), False),
        (KernelConfig(filter=NEEDS, netns=1), False),
        (KernelConfig(filter=NEEDS, track=True), False),
        (KernelConfig(filter=NEEDS, inner_l2=NEEDS), False),
        (KernelConfig(inner_l3=NEEDS), False),
        (KernelConfig(filter=NEEDS, shared=True), True),
        (KernelConfig(filter=NEEDS, queue=True), True),
        (KernelConfig(filter=NEEDS, shared=True, queue=True), False),
    ],
)
def test_simple_is_a_filter_alone(given: KernelConfig, simple: bool) -> None:
    assert given.simple == simple
