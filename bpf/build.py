# SPDX-License-Identifier: Apache-2.0
"""Compiles the BPF programs for the package: ``python bpf/build.py``, or from the wheel's build.

Writes the variants of ``pwru.bpf.c`` into ``pwru_py/bpf/`` and, beside them, ``places.txt``: lines
of VARIANT STUB OFFSET CAPACITY that say where pcap filters go (``FILTER_STUB`` in
``filter.bpf.h``), so that a start needs no ELF reader.
"""

from __future__ import annotations

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

# Typed loads or helper calls; room for the filters people write, or for the longest. The kernel
# takes its time to remove what a program does not use, so a start loads the variant that fits.
VARIANTS = {
    f"{loads}-{size}": (
        f"-DTYPED_LOADS={typed}",
        f"-DFILTER_CAPACITY={outer}",
        f"-DINNER_CAPACITY={inner}",
    )
    for loads, typed in (("typed", 1), ("plain", 0))
    for size, outer, inner in (("small", 256, 128), ("large", 8192, 1024))
}
STUBS = ("pcap_filter", "pcap_filter_inner_l2", "pcap_filter_inner_l3")
NOP = struct.pack("<BBhi", 0x05, 0, 0, 0)
ZERO_R0 = struct.pack("<BBhi", 0xB7, 0, 0, 0)
ALWAYS_TAKEN = struct.pack("<BBhi", 0x15, 0, 0, 0)
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def compile_object(source: Path, target: Path, defines: tuple[str, ...]) -> None:
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
    command += [*defines, "-c", str(source), "-o", str(target)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("cannot build the BPF programs: clang failed, see above")


def filter_place(target: Path, stub: str) -> tuple[int, int]:
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
    return offset, nops


def build() -> None:
    TARGET.mkdir(exist_ok=True)
    places = []
    for variant, defines in VARIANTS.items():
        target = TARGET / f"{variant}.bpf.o"
        compile_object(SOURCE / "pwru.bpf.c", target, defines)
        for stub in STUBS:
            offset, capacity = filter_place(target, stub)
            places.append(f"{variant} {stub} {offset} {capacity}\n")
    (TARGET / "places.txt").write_text("".join(places))


if __name__ == "__main__":
    build()
    print("built", TARGET, file=sys.stderr)
