# SPDX-License-Identifier: Apache-2.0
"""What a kernel of the lab says of its own types: the BTF in its image."""

from __future__ import annotations

import lzma
from collections.abc import Iterator

from pwru_py.facts.btf import raw_btf
from tests.vm.errors import LabError
from tests.vm.kernels import Kernel

_XZ = b"\xfd7zXZ\0"


def own_btf(kernel: Kernel) -> bytes:
    """Of a kernel whose image is packed by xz, as Debian's were until 6.1. Raises LabError."""
    for unpacked in _unpacked(kernel.image.read_bytes()):
        if unpacked.startswith(b"\x7fELF"):
            return raw_btf(unpacked, kernel.release)
    raise LabError(f"read BTF of {kernel.release}: no vmlinux in {kernel.image}")


def _unpacked(image: bytes) -> Iterator[bytes]:
    at = image.find(_XZ)
    while at >= 0:
        try:
            yield lzma.LZMADecompressor().decompress(image[at:])
        except lzma.LZMAError:
            pass
        at = image.find(_XZ, at + 1)
