# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035, UP045 - the system's Python may be older than ours
"""A program of its own: C from standard input, compiled by BCC for the running kernel's headers.

The object file goes to standard output. Any Python 3 that has BCC runs it, by its path: it imports
nothing of pwru-py, and BCC need not be where that is. Exit status 3, without an
argument: this Python has no BCC.

BCC has no call for the object file. LLVM keeps it in this process's memory for as long as the
program that was made of it lives, so it is found there: an ELF file for BPF with our function's
name in it. (BCC would load its BTF into the kernel, whence it could be read back; but older kernels
refuse it, and what BCC has relocated is not what the compiler wrote.)
"""

import importlib.util
import os
import re
import struct
import sys
from typing import Iterator, Optional, Tuple

NO_BCC = 3
CFLAGS = [
    "-fms-extensions",  # __if_exists
    "-Wno-everything",
    "-ferror-limit=0",
    # BCC's own copies of bpf.h and of helpers, which hide what this kernel has in their place.
    "-D_UAPI__LINUX_BPF_H__",
    "-D__BPF_HELPERS_H",
]
_HEADER = re.compile(rb"\x7fELF\x02[\x01\x02]\x01.{9}(?:\x01\x00\xf7\x00|\x00\x01\x00\xf7)", re.S)
_SECTION_BYTES = 64


def _regions() -> Iterator[Tuple[int, int]]:
    """(start, end) of what this process can write: heap and other memory without a file."""
    with open("/proc/self/maps") as maps:
        lines = maps.read().splitlines()
    for line in lines:
        match = re.fullmatch(r"(\w+)-(\w+) rw\S+ \w+ \S+ \d+ *(\[heap\])?", line)
        if match:
            yield int(match[1], 16), int(match[2], 16)


def _objects(memory: bytes) -> Iterator[bytes]:
    """Whole ELF files for BPF in these bytes."""
    for match in _HEADER.finditer(memory):
        order = "<" if memory[match.start() + 5] == 1 else ">"
        sections = struct.unpack_from(order + "Q", memory, match.start() + 40)[0]
        count = struct.unpack_from(order + "H", memory, match.start() + 60)[0]
        end = match.start() + sections + count * _SECTION_BYTES
        if sections and end <= len(memory):
            yield memory[match.start() : end]


def object_with(name: bytes) -> Optional[bytes]:
    """The first object file in memory that holds the bytes ``name``; None: there is none."""
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        for start, end in list(_regions()):
            try:
                found = os.pread(memory, end - start, start)
            except OSError:
                continue
            for each in _objects(found):
                if name in each:
                    return each
    finally:
        os.close(memory)
    return None


def main() -> int:
    """Without an argument: says by its exit status whether there is a BCC."""
    if len(sys.argv) < 2:
        return 0 if importlib.util.find_spec("bcc") else NO_BCC
    from bcc import BPF  # type: ignore[import-not-found]  # of the system, where it is

    name, text = sys.argv[1], sys.stdin.read()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever BCC has to say
    made = BPF(text=text, cflags=CFLAGS)
    found = object_with(b"\0" + name.encode() + b"\0")
    del made
    if found is None:
        sys.stderr.write("RuntimeError: no object file found in memory\n")
        return 1
    with answer:
        answer.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
