# SPDX-License-Identifier: Apache-2.0
"""Structures of the kernel to values and to text."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pwru_py.facts.btf import Btf, Kind
from pwru_py.facts.structures import Compound, Structure, shape_of

from .btf_builder import Builder

OWN = Path("/sys/kernel/btf/vmlinux")


def sample() -> Compound:
    """Every kind of member that a structure of the kernel has, 64 bytes."""
    made = Builder()
    u8, u16 = made.integer("unsigned char", 1), made.integer("short unsigned int", 2)
    u64, i32 = made.integer("long unsigned int", 8), made.integer("int", 4, 1)
    truth, char = made.integer("_Bool", 1, 4), made.integer("char", 1, 1)
    be16 = made.alias(Kind.TYPEDEF, made.alias(Kind.TYPEDEF, u16, "__u16"), "__be16")
    mode = made.enum("mode", {"OFF": 0, "ON": 1, "NEVER": -1}, signed=True)
    device = made.ptr(made.alias(Kind.CONST, made.fwd("device")))
    destructor = made.ptr(made.proto(device))
    half = made.fields("", 4, [("low16", u16, 0, 0), ("high16", u16, 16, 0)])
    group = made.fields("", 4, [("low16", u16, 0, 0), ("high16", u16, 16, 0)])
    either = made.fields(
        "", 4, [("both", i32, 0, 0), ("", half, 0, 0), ("group", group, 0, 0)], Kind.UNION
    )
    frag = made.alias(Kind.TYPEDEF, made.fields(
        "frag", 4, [("len", u16, 0, 0), ("offset", u16, 16, 0)]), "frag_t")  # fmt: skip
    made.fields(
        "sample",
        64,
        [
            ("dev", device, 0, 0),
            ("destructor", destructor, 64, 0),
            ("protocol", be16, 128, 0),
            ("on", truth, 144, 0),
            ("low", u8, 152, 3),
            ("high", u8, 155, 5),
            ("mode", mode, 160, 0),
            ("", either, 192, 0),
            ("cb", made.array(char, 4), 224, 0),
            ("number", i32, 256, 0),
            ("used", u8, 288, 0),
            ("nothing", made.array(u8, 0), 296, 0),
            ("frags", made.array(frag, 4), 320, 0),
            ("word", u64, 448, 0),
        ],
    )
    found = shape_of(made.btf(), "sample", {"frags": "used"})
    assert found is not None
    return found


RAW = struct.pack(
    "=QQ2sBBiI4biB3x4IQ",
    0xFFFF888100CF5000, 0xFFFFFFFF81E35270, b"\x08\x00", 1, 0b10110_101, -1, 0xFFFF0007,
    1, -1, 0, 3, -5, 2, 0x00040003, 0, 0x00060005, 0x77777777, 2**63,
)  # fmt: skip
TEXT = """\
(struct sample){
 .dev = (struct device *)0xffff888100cf5000,
 .destructor = (void (*)())0xffffffff81e35270,
 .protocol = (__be16)0x800,
 .on = (_Bool)true,
 .low = (unsigned char)0x5,
 .high = (unsigned char)0x16,
 .mode = (enum mode)NEVER,
 (union){
  .both = (int)-65529,
  (struct){
   .low16 = (short unsigned int)7,
   .high16 = (short unsigned int)65535,
  },
 },
 .cb = (char[4])[1, -1, 0, 3],
 .number = (int)-5,
 .used = (unsigned char)2,
 .frags = (frag_t[4])[
  [0] = (frag_t){
   .len = (short unsigned int)3,
   .offset = (short unsigned int)4,
  },
 ],
 .word = (long unsigned int)9223372036854775808,
}"""


def test_values() -> None:
    """Of the array only what is used; anonymous members beside the others; the group once."""
    assert Structure(sample(), RAW).values() == {
        "dev": "0xffff888100cf5000",
        "destructor": "0xffffffff81e35270",
        "protocol": 0x0800,
        "on": True,
        "low": 0b101,
        "high": 0b10110,
        "mode": "NEVER",
        "both": -65529,
        "low16": 7,
        "high16": 0xFFFF,
        "cb": [1, -1, 0, 3],
        "number": -5,
        "used": 2,
        "frags": [{"len": 3, "offset": 4}, {"len": 0, "offset": 0}],
        "word": 2**63,
    }


def test_text() -> None:
    assert Structure(sample(), RAW).text() == TEXT


def test_a_count_beyond_the_array() -> None:
    whole = RAW[:36] + b"\xff" + RAW[37:]
    assert len(Structure(sample(), whole).values()["frags"]) == 4


def test_zeros_are_left_out_of_text_alone() -> None:
    nothing = Structure(sample(), bytes(64))
    assert nothing.text() == "(struct sample){}"
    assert nothing.values()["frags"] == []
    assert nothing.values()["mode"] == "OFF"


def test_what_btf_has_not() -> None:
    assert shape_of(Builder().btf(), "sample") is None


@pytest.mark.skipif(not OWN.exists(), reason="this kernel has no BTF")
def test_the_running_kernel() -> None:
    """A byte that is set is told, wherever BTF has a member there that is no bit-field."""
    btf = Btf(OWN.read_bytes())
    shape = shape_of(btf, "sk_buff")
    assert shape is not None
    for member in ("len", "mark", "queue_mapping", "priority", "tail"):
        at = btf.member_offset("sk_buff", member)
        assert at is not None
        values = Structure(shape, bytes(at) + b"\x07" + bytes(shape.bytes - at - 1)).values()
        assert values[member] == 7
        assert values["next"] == "0x0"
