# SPDX-License-Identifier: Apache-2.0
"""Compiles the BPF programs for the package: ``python bpf/build.py``, or from the wheel's build.

Writes ``pwru_py/bpf/pwru.bpf.o`` and, beside it, ``pwru.bpf.json`` with the places where pcap
filters go (the stubs in ``filter.bpf.h``), so that a start needs no ELF reader.
"""

from __future__ import annotations

import json
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
TARGET = SOURCE.parent / "pwru_py" / "bpf"
# uname's machine: (what bpf/kernel.h calls it, Debian's directory of asm/ headers)
ARCHITECTURES = {"x86_64": ("x86", "x86_64-linux-gnu")}

STUBS = ("pcap_filter", "pcap_filter_inner_l2", "pcap_filter_inner_l3")
NOP = struct.pack("<BBhi", 0x05, 0, 0, 0)
ZERO_R0 = struct.pack("<BBhi", 0xB7, 0, 0, 0)
ALWAYS_TAKEN = struct.pack("<BBhi", 0x15, 0, 0, 0)
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def compile_object(source: Path, target: Path) -> None:
    """Runs clang; its messages go to stderr. Raises SystemExit when it is missing or fails."""
    clang = shutil.which("clang")
    if clang is None:
        raise SystemExit(
            "cannot build the BPF programs: clang is not installed (apt install clang)"
        )
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise SystemExit(f"cannot build the BPF programs: {machine} is not supported yet")
    arch, include = ARCHITECTURES[machine]
    command = [clang, "-target", "bpf", "-mcpu=v2", "-O2", "-g", "-Wall", "-Werror"]
    command += [f"-D__TARGET_ARCH_{arch}", f"-I/usr/include/{include}"]
    command += [f"-ffile-prefix-map={source.parent}=.", "-fdebug-compilation-dir=."]
    command += ["-c", str(source), "-o", str(target)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("cannot build the BPF programs: clang failed, see above")


def filter_place(target: Path, stub: str) -> dict[str, int]:
    """File offset of a FILTER_STUB and how many no-ops it has; checks the code around them."""
    from elftools.elf.elffile import ELFFile

    with target.open("rb") as stream:
        elf = ELFFile(stream)
        (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name(stub)
        section = elf.get_section(symbol["st_shndx"])
        offset = section["sh_offset"] + symbol["st_value"]
        code = section.data()[symbol["st_value"] : symbol["st_value"] + symbol["st_size"]]
    if not code.startswith(ZERO_R0 + ALWAYS_TAKEN + NOP) or not code.endswith(NOP + EXIT):
        raise SystemExit(f"{target}: {stub} is not what the loader expects: {code[:32].hex()}")
    nops = len(code) // 8 - 3
    if code[16:-8] != NOP * nops:
        raise SystemExit(f"{target}: {stub} has something between its no-ops")
    return {"offset": offset, "capacity": nops}


def build() -> None:
    TARGET.mkdir(exist_ok=True)
    target = TARGET / "pwru.bpf.o"
    compile_object(SOURCE / "pwru.bpf.c", target)
    places = {stub: filter_place(target, stub) for stub in STUBS}
    target.with_suffix(".json").write_text(json.dumps(places) + "\n")


if __name__ == "__main__":
    build()
    print("built", TARGET / "pwru.bpf.o", file=sys.stderr)
