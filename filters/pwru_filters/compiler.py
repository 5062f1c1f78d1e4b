# SPDX-License-Identifier: Apache-2.0
"""The front door: all passes in order, and their result."""

from __future__ import annotations

from dataclasses import dataclass, field

from .back.assemble import assemble
from .back.ebpf import R10, EbpfInsn
from .back.emit import emit
from .errors import FilterTooLargeError
from .frame import Cast
from .front.cbpf import CbpfInsn, CbpfProgram
from .front.libpcap import compile_expression
from .front.validate import validate
from .passes.blocks import build
from .passes.lowering import Lowering, lower, reads_caplen
from .passes.tagged import can_match_tagged

_FRAME = 1  # register; nothing else is ever read from it


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A filter ready to be placed into the tracer's BPF program.

    cbpf: libpcap's program for Ethernet frames. ebpf: the same filter as a fragment without exit.
    On entry r1 points to struct frame and registers hold what frame.py says; r0 is 0. At its end,
    past the last instruction, r0 is 0 for no match, and for a match 1 + the caplen that it needs
    beyond what has been checked. It uses r0-r9.
    cast: None for a copied frame.
    frame_bytes: how many bytes of the frame must be in bytes, or from near on; 0 = none.
    needs_mac: it may read link addresses (frame bytes 0 .. 11).
    needs_link: it may read other bytes below 18 than the EtherType.
    needs_length: it reads the field len.
    needs_payload: it may look behind the headers.
    needs_frame: it reads struct frame; always so of a copied frame.
    needs_caplen: it reads the field caplen; otherwise all checks are left to the verdict.
    needs_tag: a frame with a VLAN tag may match it.
    needs_stack: it uses up to 72 bytes below r10.
    flat: its copied frame may be on the stack.
    """

    expression: str
    cbpf: CbpfProgram
    ebpf: tuple[EbpfInsn, ...]
    frame_bytes: int
    needs_mac: bool
    needs_link: bool
    needs_length: bool
    needs_payload: bool
    needs_frame: bool
    needs_caplen: bool
    needs_tag: bool
    needs_stack: bool
    flat: bool
    cast: Cast | None
    _lowering: Lowering = field(repr=False, compare=False)

    @property
    def code(self) -> bytes:
        """The fragment as the kernel wants it: 8 bytes for each instruction, little-endian."""
        return b"".join(insn.to_bytes() for insn in self.ebpf)

    def listing(self) -> str:
        """All passes in text: the expression, cBPF as `tcpdump -d`, blocks, eBPF as the verifier
        prints it, figures.
        """
        # Imported when asked for: a start needs none of the text.
        from .text.blocks_text import block_lines
        from .text.cbpf_text import cbpf_lines
        from .text.ebpf_text import ebpf_lines, frame_line

        how = "looked at in place" if self.cast else "copied for each packet"
        slow = " or more" if self._lowering.extent.slow else ""
        figures = [
            f"the first {self.frame_bytes}{slow} bytes are {how}, {len(self.cbpf)} cBPF and "
            f"{len(self.ebpf)} eBPF instructions",
            frame_line(self._lowering),
        ]
        blocks, insns = block_lines(self._lowering), ebpf_lines(self.ebpf)
        passes = [[self.expression], cbpf_lines(self.cbpf), blocks, insns, figures]
        return "\n".join(line for lines in passes for line in (*lines, ""))


def compile_filter(
    expression: str, *, capacity: int | None = None, cast: Cast | None = None
) -> CompiledFilter:
    """Compile a pcap-filter(7) expression as for an Ethernet interface.

    capacity: the most eBPF instructions there is room for; None = no limit.
    cast: for a viewed frame; None = for a copied one, which every kernel can do.
    Raises FilterSyntaxError, FilterUnsupportedError, FilterTooLargeError.
    """
    return compile_cbpf(expression, compile_expression(expression), capacity=capacity, cast=cast)


def compile_cbpf(
    expression: str,
    program: tuple[CbpfInsn, ...],
    *,
    capacity: int | None = None,
    cast: Cast | None = None,
) -> CompiledFilter:
    """Compile a cBPF program, however it was made; `expression` is only kept."""
    validate(program)
    lowering = lower(build(program), cast)
    ebpf = assemble(emit(lowering))
    if capacity is not None and len(ebpf) > capacity:
        raise FilterTooLargeError(len(ebpf), capacity)
    return CompiledFilter(
        expression=expression,
        cbpf=program,
        ebpf=ebpf,
        frame_bytes=lowering.extent.frame_bytes,
        needs_mac=lowering.extent.needs_mac,
        needs_link=lowering.extent.needs_link,
        needs_length=lowering.extent.needs_length,
        needs_payload=lowering.extent.needs_payload,
        needs_frame=cast is None or any(insn.src == _FRAME for insn in ebpf),
        needs_caplen=reads_caplen(lowering),
        needs_tag=can_match_tagged(lowering.graph),
        needs_stack=any(R10 in (insn.dst, insn.src) for insn in ebpf),
        flat=lowering.flat,
        cast=cast,
        _lowering=lowering,
    )
