# SPDX-License-Identifier: Apache-2.0
"""Compiles the BPF programs for the package: ``python bpf/build.py``, or from the wheel's build.

Writes the variants of ``pwru.bpf.c`` into ``pwru_py/bpf/`` and, beside them, ``places.txt``: lines
of VARIANT FILTER OFFSET CAPACITY that say where filters and field expressions go (``FILTER_STUB``
in ``filter.bpf.h``), so that a start needs no ELF reader. ``python bpf/build.py contract`` writes
``pwru_py/record/contract.py`` instead: what ``event.h`` shares with Python.
"""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
TARGET = SOURCE.parent / "pwru_py" / "bpf"
CONTRACT = SOURCE.parent / "pwru_py" / "record" / "contract.py"
# uname's machine: (what bpf/kernel.h calls it, Debian's directory of asm/ headers)
ARCHITECTURES = {"x86_64": ("x86", "x86_64-linux-gnu")}

# For kprobes with helper calls or with typed loads, for trampolines; with room for the filters that
# people write, or for the longest. The kernel takes its time to remove what a program does not use,
# so a start loads the variant that fits.
VARIANTS = {
    f"{programs}-{size}": (
        f"-mcpu={cpu}",
        f"-DTYPED_LOADS={typed}",
        f"-DTRAMPOLINE={trampoline}",
        f"-DFILTER_CAPACITY={outer}",
        f"-DINNER_CAPACITY={inner}",
        f"-DEXPRESSION_CAPACITY={expression}",
    )
    for programs, typed, trampoline, cpu in (
        ("plain", 0, 0, "v2"),
        ("typed", 1, 0, "v2"),
        ("fentry", 1, 1, "v3"),
    )
    for size, outer, inner, expression in (("small", 256, 128, 256), ("large", 8192, 1024, 4096))
}
OUTER, *INNER = "pcap_filter", "inner_l2", "inner_l3"
EXPRESSIONS = ("skb_expression", "skb_metadata", "xdp_expression", "xdp_metadata")
PLACES = {OUTER, *INNER, *EXPRESSIONS}
FUNCTIONS = {f"run_{name}": name for name in INNER} | {name: name for name in EXPRESSIONS}
NOP = struct.pack("<BBhi", 0x05, 0, 0, 0)
ZERO_R0 = struct.pack("<BBhi", 0xB7, 0, 0, 0)
ALWAYS_TAKEN = struct.pack("<BBhi", 0x15, 0, 0, 0)
STUB = ZERO_R0 + ALWAYS_TAKEN + NOP


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
    command = [clang, "-target", "bpf", "-O2", "-g", "-Wall", "-Werror"]
    command += [f"-D__TARGET_ARCH_{arch}", f"-I/usr/include/{include}"]
    command += [f"-ffile-prefix-map={source.parent}=.", "-fdebug-compilation-dir=."]
    command += [*defines, "-c", str(source), "-o", str(target)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("cannot build the BPF programs: clang failed, see above")


def filter_places(target: Path) -> list[tuple[str, int, int]]:
    """(filter, file offset, no-ops) of every place: but for pcap filters by the function's name."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    found = []
    with target.open("rb") as stream:
        elf = ELFFile(stream)
        symbols = elf.get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        for symbol in symbols.iter_symbols():
            if symbol["st_info"]["type"] != "STT_FUNC":
                continue
            section = elf.get_section(symbol["st_shndx"])
            start, end = symbol["st_value"], symbol["st_value"] + symbol["st_size"]
            code = section.data()
            name = FUNCTIONS.get(symbol.name, OUTER)
            at = code.find(STUB, start, end)
            while at >= 0:
                first = at + len(STUB) - len(NOP)
                nops = 0
                while code.startswith(NOP, first + nops * len(NOP)):
                    nops += 1
                found.append((name, section["sh_offset"] + at, nops))
                at = code.find(STUB, first + nops * len(NOP), end)
    if {name for name, _, _ in found} != PLACES:
        raise SystemExit(f"{target}: a place for a filter is missing: {found}")
    return found


def build() -> None:
    TARGET.mkdir(exist_ok=True)
    places = []
    for variant, defines in VARIANTS.items():
        target = TARGET / f"{variant}.bpf.o"
        compile_object(SOURCE / "pwru.bpf.c", target, defines)
        for name, offset, capacity in filter_places(target):
            places.append(f"{variant} {name} {offset} {capacity}\n")
    (TARGET / "places.txt").write_text("".join(places))


def contract() -> str:
    """The text of ``pwru_py/record/contract.py``, by the BTF of ``contract.c``."""
    sys.path.insert(0, str(SOURCE))
    from contract import contract_module

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "contract.o")
        compile_object(SOURCE / "contract.c", target, ())
        return contract_module(target.read_bytes())


if __name__ == "__main__":
    if sys.argv[1:] == ["contract"]:
        CONTRACT.write_text(contract())
    else:
        build()
        print("built", TARGET, file=sys.stderr)
