# SPDX-License-Identifier: Apache-2.0
"""The kernel's machine code, by ``/proc/kcore``."""

from __future__ import annotations

KCORE = "/proc/kcore"


def read_text(addr: int, size: int, path: str = KCORE) -> bytes | None:
    """``size`` bytes from a kernel address; None where they cannot be had: CAP_SYS_RAWIO, lockdown.

    ``path``: an ELF core file, as fs/proc/kcore.c makes it.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with open(path, "rb", buffering=0) as core:
            for segment in ELFFile(core).iter_segments("PT_LOAD"):
                start, length = segment["p_vaddr"], segment["p_filesz"]
                if start <= addr and addr + size <= start + length:
                    core.seek(segment["p_offset"] + addr - start)
                    found = core.read(size)
                    return found if found is not None and len(found) == size else None
    except (OSError, ELFError):
        return None
    return None
