# SPDX-License-Identifier: Apache-2.0
"""Makes the kernel refuse programs, each for another reason: ``refusals FOLDER``.

Writes what libbpf and the verifier say, as the loader would read it, into FOLDER/REASON.txt: the
samples of tests/unit/verifier_logs were made by it. Of a long log the middle is left out.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pwru_py.errors import LoadError
from pwru_py.kernel.libbpf import BpfObject, Libbpf
from pwru_py.programs.splice import OUTER, filter_places, object_bytes, splice
from pwru_py.record.layout import FilterNeeds, KernelConfig

SETTINGS = KernelConfig(filter=FilterNeeds(bytes=40, on=True))
HEAD_BYTES, TAIL_BYTES = 1000, 3000


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


MOV, JLT, CALL, LOAD, STORE = 0xB7, 0xA5, 0x85, 0x79, 0x7A
FILTERS = {
    # for ever
    "infinite_loop": insn(MOV) + insn(JLT, off=-2, imm=1),
    "not_initialised": insn(0xBF, 0, 4),
    "no_pointer": insn(MOV, 1, imm=8) + insn(LOAD, 0, 1),
    "beyond_the_stack": insn(STORE, 10, off=-600) + insn(MOV),
    "unknown_helper": insn(CALL, imm=100_000) + insn(MOV),
    "unknown_kfunc": insn(CALL, 0, 2, imm=1) + insn(MOV),
}


def of_filter(code: bytes) -> bytes:
    """An object with these instructions for a filter."""
    stub = SimpleNamespace(code=code)
    compiled: dict[str, Any] = {OUTER: stub}
    return splice(object_bytes("plain", {}), filter_places("plain-small"), compiled)


def refused(elf: bytes, btf: str = "", change: Callable[[BpfObject], None] | None = None) -> str:
    """The log, ended by the words of the errno."""
    with BpfObject(Libbpf(), elf, btf) as found:
        for program in found.programs():
            program.set_autoload(program.name == "trace_skb")
        found.map("queue").set_autocreate(False)
        found.map("ring").set_max_entries(4096)
        found.map(".rodata").set_initial_value(SETTINGS.pack())
        if change:
            change(found)
        try:
            found.load()
        except LoadError as error:
            return error.log
    return ""


def other_btf(path: str) -> None:
    """This kernel's types, with a field of sk_buff by another name."""
    raw = Path("/sys/kernel/btf/vmlinux").read_bytes()
    Path(path).write_bytes(raw.replace(b"\0mac_header\0", b"\0mac_footer\0"))


def enlarge(found: BpfObject) -> None:
    found.map("tracked").set_max_entries(0xFFFFFFFF)


def shortened(log: str) -> str:
    """The beginning, and what is around the reason to the end."""
    explained = log.find("\nVerification failed: ")  # since 7.3
    tail = max(len(log) - TAIL_BYTES if explained < 0 else explained - TAIL_BYTES // 2, 0)
    return log if tail < HEAD_BYTES else f"{log[:HEAD_BYTES]}\n[...]\n{log[tail:]}"


def main() -> None:
    folder = Path(sys.argv[1])
    plain = object_bytes("plain", {})
    logs = {name: refused(of_filter(code)) for name, code in FILTERS.items()}
    other_btf("/run/other_btf")
    logs["other_kernel"] = refused(plain, "/run/other_btf")
    logs["map_too_large"] = refused(
        plain, change=lambda o: o.map("tracked").set_max_entries(0xFFFFFFFF)
    )
    for name, log in logs.items():
        assert log, f"{name} was loaded"
        (folder / f"{name}.txt").write_text(shortened(log))


if __name__ == "__main__":
    main()
