# SPDX-License-Identifier: Apache-2.0
"""``record/contract.py`` and ``record/layout.py`` against ``bpf/event.h``."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from pwru_py.facts.tables import TableLayout
from pwru_py.record import contract, layout
from pwru_py.record.event import Context
from pwru_py.record.layout import ConntrackSettings, FilterNeeds, KernelConfig, Layout, RecordLayout

PROJECT = Path(__file__).parents[2]
HEADER = PROJECT / "bpf" / "event.h"
STRUCTURES = [
    "event", "event_tuple", "record", "needs", "config", "tables", "table_verdict", "tunnel",
    "conntracked", "conntrack",
]  # fmt: skip


def members(name: str) -> contract.Members:
    found: contract.Members = getattr(contract, name.upper())
    return found


def test_the_contract_is_what_the_header_says_now(tmp_path: Path) -> None:
    """``python bpf/build.py contract`` would write the file that is there."""
    program = "import build; print(build.contract(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, cwd=PROJECT / "bpf"
    )
    assert made.stdout == (PROJECT / "pwru_py" / "record" / "contract.py").read_bytes()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Sizes, places and macros as this machine's own compiler sees them."""
    wanted = ["COOKIE_TARGET(0x12345678ULL)", "COOKIE_ARGUMENTS(0x12345678ULL)"]
    wanted += ["COOKIE_SKB_ARG(0x12345678ULL)", "COOKIE_REASON_ARG(0x12345678ULL)"]
    for name in STRUCTURES:
        wanted.append(f"sizeof(struct {name})")
        wanted += [f"offsetof(struct {name}, {member})" for member, _, _ in members(name)]
    folder = tmp_path_factory.mktemp("layout")
    prints = "\n".join(f'printf("%s=%llu\\n", "{x}", (unsigned long long)({x}));' for x in wanted)
    Path(folder, "layout.c").write_text(
        f'#include <stdio.h>\n#include <stddef.h>\n#include "{HEADER}"\n'
        f"int main(void) {{ {prints} }}\n"
    )
    program = folder / "layout"
    subprocess.run(["clang", str(folder / "layout.c"), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    pairs = (line.rpartition("=") for line in done.stdout.splitlines())
    return {name: int(value) for name, _, value in pairs}


@pytest.mark.parametrize("name", STRUCTURES)
def test_members_are_where_another_compiler_puts_them(name: str, compiled: dict[str, int]) -> None:
    for member, offset, _ in members(name):
        assert compiled[f"offsetof(struct {name}, {member})"] == offset, member
    assert compiled[f"sizeof(struct {name})"] == getattr(contract, f"{name.upper()}_BYTES")


@pytest.mark.parametrize("name", STRUCTURES)
def test_no_member_of_the_header_is_left_out(name: str) -> None:
    body = re.search(rf"^struct {name} \{{.*?\n(.*?)^}};", HEADER.read_text(), re.M | re.S)
    assert body
    declared = re.findall(r"^\t(?:struct )?\w+ (\w+)(?:\[\w+\])?;", body[1], re.M)
    assert declared == [member for member, _, _ in members(name)]


def test_a_layout_fills_the_gaps() -> None:
    gaps = Layout((("a", 0, "B"), ("b", 4, "I"), ("c", 8, "2H")), 16)
    assert gaps.size == 16
    packed = gaps.pack_members(a=1, b=2, c=(3, 4))
    assert packed == bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0])


def test_contexts() -> None:
    for context in Context:
        assert getattr(contract, f"CONTEXT_{context.name}") == context.value


def test_records_and_their_sections() -> None:
    plain, stacked = RecordLayout.of(), RecordLayout.of(contract.SECTION_STACK)
    event, stack = contract.EVENT_BYTES, layout.STACK.size
    assert (plain.bytes, {*plain.section_at}) == (event, {0})
    assert (stacked.bytes, begins(stacked)) == (event + stack, {contract.SECTION_STACK: event})
    structures = {contract.SECTION_SKB, contract.SECTION_SHARED, contract.SECTION_ENTRY}
    told, whole = (
        RecordLayout.of(contract.SECTION_UDP, contract.SECTION_TABLE),
        RecordLayout.of(
            *{*range(contract.SECTION_MAX)} - structures,
            skb_bytes=contract.SKB_MAX,
            shared_bytes=contract.SHARED_MAX,
            entry_bytes=contract.ENTRY_MAX,
            metadata_bytes=contract.SKB_METADATA_MAX,
            xdp_bytes=contract.SKB_METADATA_MAX,
        ),
    )
    table = contract.TABLE_VERDICT_BYTES
    assert told.bytes == event + table + 8
    assert begins(told) == {contract.SECTION_TABLE: event, contract.SECTION_UDP: event + table}
    assert [at for at in told.value_at if at >= 0] == [0, len(layout.TABLE_VERDICT.names)]
    assert (whole.bytes, whole.section_at[0]) == (contract.RECORD_BYTES, event)
    assert whole.value_at[1] == contract.STACK_MAX
    assert all(each.bytes % 8 == 0 for each in (plain, stacked, told, whole))
    odd = RecordLayout.of(skb_bytes=233)
    assert (odd.bytes, odd.skb_bytes) == (event + 240, 233)


def begins(record: RecordLayout) -> dict[int, int]:
    """Where each section is that there is."""
    return {section: at for section, at in enumerate(record.section_at) if at}


def test_cookies(compiled: dict[str, int]) -> None:
    assert compiled["COOKIE_TARGET(0x12345678ULL)"] == 0x12345678 >> contract.COOKIE_TARGET_SHIFT
    assert compiled["COOKIE_ARGUMENTS(0x12345678ULL)"] == 0x78
    reason = compiled["COOKIE_REASON_ARG(0x12345678ULL)"]
    assert reason == 0x7 == 0x78 >> contract.COOKIE_REASON_SHIFT
    assert compiled["COOKIE_SKB_ARG(0x12345678ULL)"] == 0x8


NEEDS = FilterNeeds(78, on=True, link=False, length=True, payload=True)


def test_needs_are_packed_by_name() -> None:
    values = tuple(getattr(NEEDS, name) for name in layout.NEEDS.names)
    assert layout.NEEDS.unpack(NEEDS.pack()) == values


def test_a_configuration_is_packed_by_name() -> None:
    stacked = RecordLayout.of(contract.SECTION_STACK, skb_bytes=232)
    given = KernelConfig(
        1,
        2,
        3,
        4,
        NEEDS,
        FilterNeeds(),
        NEEDS,
        adjacent=True,
        track=True,
        owner_comm=b"a name of 15 by" + bytes(1),
        record=stacked,
        tables=replace(TableLayout(56, 64, 88, frame4=256, rule6=13), skb_second=True, on=True),
        conntrack=ConntrackSettings(225, 128, 168, states=4, mark=7, mark_mask=15, judges=True),
    )
    values = [*layout.CONFIG.unpack(given.pack())]
    sizes = {"section_at": contract.SECTION_MAX, "trampolines": contract.RETURN_TRAMPOLINES}
    for name, size in sizes.items():
        at = layout.CONFIG.names.index(name)
        values[at : at + size] = [tuple(values[at : at + size])]
    packed = dict(zip(layout.CONFIG.names, values, strict=True))
    tables = layout.TABLES.unpack(packed.pop("tables"))
    assert dict(zip(layout.TABLES.names, tables, strict=True)) == asdict(given.tables)
    conntrack = layout.CONNTRACK.unpack(packed.pop("conntrack"))
    assert dict(zip(layout.CONNTRACK.names, conntrack, strict=True)) == asdict(given.conntrack)
    record = [packed.pop(f"{name}_bytes") for name in ("record", "skb", "shared")]
    assert record == [stacked.bytes, 232, 0]
    derived = [packed.pop(name) for name in ("meta", "placed", "owned", "pages", "section_at")]
    assert derived == [True, True, True, False, stacked.section_at]
    assert packed == {
        field.name: value.pack() if isinstance(value, FilterNeeds) else value
        for field in fields(KernelConfig)
        if field.name not in ("record", "tables", "conntrack")
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
        (KernelConfig(filter=NEEDS, cgroup=1), False),
        (KernelConfig(filter=NEEDS, conntrack=ConntrackSettings(states=4)), False),
        (KernelConfig(filter=NEEDS, conntrack=ConntrackSettings(mark_mask=1)), False),
        (KernelConfig(filter=NEEDS, record=RecordLayout.of(contract.SECTION_CONNTRACK)), False),
        (KernelConfig(filter=NEEDS, track=True), False),
        (KernelConfig(filter=NEEDS, inside=True), False),
        (KernelConfig(filter=NEEDS, lives=True), True),
        (KernelConfig(filter=NEEDS, inner_l2=NEEDS), False),
        (KernelConfig(inner_l3=NEEDS), False),
        (KernelConfig(filter=NEEDS, shared=True), True),
        (KernelConfig(filter=NEEDS, queue=True), True),
        (KernelConfig(filter=NEEDS, shared=True, queue=True), False),
    ],
)
def test_simple_is_a_filter_alone(given: KernelConfig, simple: bool) -> None:
    assert given.simple == simple
