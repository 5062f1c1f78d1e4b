# SPDX-License-Identifier: Apache-2.0
"""Where functions are looked for, and what of it a start remembers."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest

from pwru_py.errors import FeatureUnsupportedError, PrivilegeError
from pwru_py.kernel import system
from pwru_py.kernel.notes import Notes
from pwru_py.plan.functions import Attachable
from pwru_py.programs import attachable as functions
from pwru_py.programs.attachable import Name, check_symbols, find_attachable, find_variables

from .test_known import FakeNotes

START = 0xFFFFFFFFA5200000
ADDRS = "available_filter_functions_addrs"
NAMES = "available_filter_functions"
WANTED = {("ip_rcv", ""), ("twice", ""), ("inlined", "")}


def _kallsyms(start: int) -> str:
    def at(offset: int) -> str:
        return f"{start + offset if start else 0:016x}"

    return (
        f"{'0' * 16} A fixed_percpu_data\n"
        f"{at(0)} T _stext\n{at(0x100)} T ip_rcv\n{at(0x200)} t twice\n"
        f"{at(0x300)} t twice\n{at(0x400)} t unlisted\n{at(0x600)} t inlined.isra.0\n"
        f"{at(0x700)} d ip_rcv.isra.0\n{at(0x900000)} d ip_rcv\n"
        f"{at(0x1000000)} t veth_xmit\t[veth]\n"
    )


class System:
    """Files, and which of them were read."""

    def __init__(self) -> None:
        self.kallsyms = _kallsyms(START)
        self.tracefs = {
            ADDRS: f"{START + 0x104:x} ip_rcv\n{START + 0x204:x} twice\n{START + 0x304:x} twice\n"
            f"{START + 0x504:x} another\n{START + 0x604:x} inlined.isra.0\n"
            f"{START + 0x1000004:x} veth_xmit [veth]\n",
            NAMES: "ip_rcv\ntwice\ntwice\nanother\ninlined.isra.0\nveth_xmit [veth]\n",
        }
        self.blacklist = "0xffffffffa5200300-0xffffffffa5200310\ttwice\n"
        self.read: list[str] = []

    def tracefs_file(self, name: str) -> bytes | None:
        self.read.append(name)
        text = self.tracefs.get(name)
        return None if text is None else text.encode()

    def open(self, path: str, *_: Any, **__: Any) -> io.BytesIO:
        assert path == system.KALLSYMS
        return io.BytesIO(self.kallsyms.encode())


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System()
    monkeypatch.setattr(system, "tracefs_file", made.tracefs_file)
    monkeypatch.setattr(system, "read", lambda path: made.blacklist.encode())
    for module in (system, functions):
        monkeypatch.setattr(module, "open", made.open, raising=False)
    return made


def find(
    notes: FakeNotes, names: set[Name] = WANTED, *, kprobes: bool = False, ids: bool = False
) -> Attachable:
    return find_attachable(names, cast(Notes, notes), kprobes=kprobes, ids=ids)


ENTRIES = {("ip_rcv", ""): [START + 0x100], ("twice", ""): [START + 0x200, START + 0x300]}
CLONES = {("inlined", ""): ("inlined.isra.0",)}
LOCATED = {("ip_rcv", ""): [START + 0x104], ("twice", ""): [START + 0x204, START + 0x304]}


def test_ftrace_tells_addresses(files: System) -> None:
    assert find(FakeNotes()) == Attachable(LOCATED, NAMES, clones=CLONES)
    assert files.read == [ADDRS]


def test_an_older_one_tells_names_and_kallsyms_where(files: System) -> None:
    del files.tracefs[ADDRS]
    found = find(FakeNotes())
    assert found.source == NAMES
    assert (found.functions, found.clones) == (ENTRIES, CLONES)


def test_without_tracefs_kallsyms_tells_all_but_what_kprobes_refuse(files: System) -> None:
    files.tracefs = {}
    found = find(FakeNotes(), WANTED | {("unlisted", "")})
    assert found.source == "kallsyms"
    assert found.functions["unlisted", ""] == [START + 0x400]
    assert found.clones == CLONES
    assert found.blacklist == {"twice"}


def test_kprobes_have_a_blacklist_and_lie_at_entries(files: System) -> None:
    notes = FakeNotes()
    found = find(notes, kprobes=True)
    assert found.blacklist == {"twice"}
    assert (found.functions, found.source) == (ENTRIES, NAMES)
    assert find(notes).functions == LOCATED
    assert find(notes).blacklist == frozenset()
    assert files.read == [NAMES, ADDRS]
    assert find(notes, kprobes=True) == found


def test_the_second_start_reads_no_list(files: System) -> None:
    notes = FakeNotes()
    find(notes)
    del files.read[:]
    assert find(notes) == Attachable(LOCATED, NAMES, clones=CLONES)
    assert find(notes, ids=True).functions == {("ip_rcv", ""): [0], ("twice", ""): [0, 0]}
    assert files.read == []


def test_after_a_boot_all_are_elsewhere(files: System) -> None:
    """The kernel's text moves as a whole (CONFIG_RANDOMIZE_BASE)."""
    notes = FakeNotes()
    find(notes)
    files.kallsyms = _kallsyms(START + 0x1000000)
    moved = {name: [addr + 0x1000000 for addr in addrs] for name, addrs in LOCATED.items()}
    assert find(notes).functions == moved


def test_modules_are_looked_for_every_time(files: System) -> None:
    notes = FakeNotes()
    names = WANTED | {("veth_xmit", "veth")}
    for _ in range(2):
        assert find(notes, names).functions == LOCATED | {
            ("veth_xmit", "veth"): [START + 0x1000004]
        }
    assert files.read == [ADDRS, ADDRS]
    assert not notes


def test_hidden_addresses(files: System) -> None:
    """With ftrace's addresses nothing else is needed, but nothing can be remembered."""
    files.kallsyms = _kallsyms(0)
    notes = FakeNotes()
    assert find(notes) == find(notes) == Attachable(LOCATED, NAMES, clones=CLONES)
    assert not notes
    del files.tracefs[ADDRS]
    with pytest.raises(PrivilegeError, match="CAP_SYSLOG"):
        find(notes)
    found = find(notes, ids=True)
    assert found.functions == {("ip_rcv", ""): [0], ("twice", ""): [0, 0]}
    files.tracefs = {}
    with pytest.raises(PrivilegeError, match="CAP_SYSLOG"):
        find(notes, ids=True)


@pytest.mark.parametrize(
    "note",
    [
        {"ip_rcv": [4]},
        {"offsets": 7, "clones": {}},
        {"offsets": {"ip_rcv": 7}, "clones": {}},
        {"offsets": {"ip_rcv": ["x"]}, "clones": {}},
        {"offsets": {"ip_rcv": [4]}},
        {"offsets": {"ip_rcv": [4]}, "clones": {"inlined": 7}},
    ],
)
def test_a_note_of_another_kind_is_made_anew(files: System, note: dict[str, Any]) -> None:
    notes = FakeNotes(functions=note)
    assert find(notes).functions == LOCATED
    assert notes["functions"] != note


def test_variables_are_noted_from_the_start_of_the_text(files: System) -> None:
    """But per-CPU ones that are listed as offsets, and those that the kernel does not list."""
    names = ("fixed_percpu_data", "__per_cpu_offset", "not_listed")
    per_cpu = f"{0x351C0:016x} A fixed_percpu_data\n"

    def boot(start: int) -> str:
        return f"{per_cpu}{start:016x} T _stext\n{start + 0x1000:016x} D __per_cpu_offset\n"

    notes = FakeNotes()
    files.kallsyms = boot(START)
    found = find_variables(names, cast(Notes, notes))
    assert found == {"fixed_percpu_data": 0x351C0, "__per_cpu_offset": START + 0x1000}
    files.kallsyms = boot(START + 0x5000).replace("__per_cpu_offset", "is_not_read_again")
    again = find_variables(names, cast(Notes, notes))
    assert again == found | {"__per_cpu_offset": START + 0x6000}
    files.kallsyms = ""
    assert find_variables(names, cast(Notes, notes)) == {}


def test_types_of_another_kernel(files: System) -> None:
    check_symbols(["ip_rcv"] * 9 + ["twice"], "/boot/btf")
    with pytest.raises(FeatureUnsupportedError, match=r"/boot/btf is not the BTF of this kernel"):
        check_symbols(["ip_rcv", "gone", "went"], "/boot/btf")
    files.kallsyms = _kallsyms(0)
    with pytest.raises(PrivilegeError):
        check_symbols(["ip_rcv"], "/boot/btf")
