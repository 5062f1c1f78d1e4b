# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.errors import FeatureUnsupportedError
from pwru_py.facts.btf import _EACH, _FIXED, Btf, Kind, TypeId, from_file

from .btf_builder import Builder


def test_every_kind_is_stepped_over() -> None:
    b = Builder()
    b.func("before", b.ptr(b.struct("sk_buff")))
    b.everything()
    b.union("u", 8, [("a", 1)])
    b.enum("e", {"A": 1})
    b.enum64("e64", {"B": 1})
    for kind in (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG):
        b.alias(kind, 1, "name" if kind in (Kind.TYPEDEF, Kind.TYPE_TAG) else "")
    b.func("after", 2)
    btf = b.btf()
    assert [function.name for function in btf.functions()] == ["before", "after"]
    assert btf.kind(TypeId(b.count)) is Kind.FUNC
    assert {btf.kind(TypeId(i)) for i in range(1, b.count + 1)} == set(Kind)


def test_repeated_functions() -> None:
    b = Builder()
    for name in ("twice", "once", "twice", "thrice", "thrice", "thrice"):
        b.func(name, b.integer())
    module = Builder(b)
    module.func("once", b.integer())
    assert b.btf().repeated_functions() == {"twice": 2, "thrice": 3}
    assert module.btf(b.btf(), "veth").repeated_functions() == {}


def test_functions_and_parameters() -> None:
    b = Builder()
    skb = b.ptr(b.struct("sk_buff"))
    number = b.integer()
    b.func("ip_rcv", skb, number, returns=number)
    b.func("variadic", number, 0)
    b.func("nothing")
    btf = b.btf()
    (ip_rcv, variadic, nothing) = btf.functions()
    assert btf.parameters(ip_rcv.proto) == (("arg", skb), ("arg", number))
    assert btf.target(ip_rcv.proto) == number
    assert btf.parameter_types(variadic.proto) == (number, 0)
    assert btf.parameter_types(nothing.proto) == ()
    assert btf.function("ip_rcv") == ip_rcv
    assert btf.function("ip_rc") is None
    assert btf.function("sk_buff") is None, "a name that is no function's"
    assert [btf.name_at(at) for at, _ in btf.function_protos()] == ["ip_rcv", "variadic", "nothing"]


def test_qualifiers_and_typedefs_are_seen_through() -> None:
    b = Builder()
    end = b.struct("sk_buff", 232)
    chain = end
    kinds = (Kind.TYPE_TAG, Kind.CONST, Kind.VOLATILE, Kind.TYPEDEF, Kind.RESTRICT, Kind.TYPEDEF)
    for kind in kinds:
        chain = b.alias(kind, chain, "t")
    const_void = b.alias(Kind.CONST, 0)
    btf = b.btf()
    assert btf.resolve(TypeId(chain)) == end
    assert btf.size(TypeId(chain)) == 232
    assert btf.resolve(TypeId(const_void)) == 0
    assert btf.size(TypeId(const_void)) == 0
    assert (btf.kind(TypeId(0)), btf.type_name(TypeId(0))) == (None, "")


def test_sizes() -> None:
    b = Builder()
    number, pointer = b.integer("u16", 2), b.ptr(0)
    sizes = {
        number: 2,
        pointer: 8,
        b.array(b.array(pointer, 3), 5): 120,
        b.struct("s", 24): 24,
        b.union("u", 16): 16,
        b.enum("e", {"A": 0}): 4,
        b.enum64("e64", {"A": 0}): 8,
        b.fwd("f"): 0,
        b.proto(number): 0,
        b.add(Kind.FLOAT, "double", 8): 8,
    }
    btf = b.btf()
    assert {type_id: btf.size(TypeId(type_id)) for type_id in sizes} == sizes


def test_enumerators_keep_their_sign_and_width() -> None:
    b = Builder()
    b.enum("unsigned", {"BIG": 0xFFFFFFFF, "ONE": 1})
    b.enum("signed", {"MINUS": -1, "TWO": 2}, signed=True)
    b.enum64("unsigned64", {"HUGE": 0xFFFFFFFF00000001})
    b.enum64("signed64", {"LOW": -(1 << 40), "HIGH": 1 << 40}, signed=True)
    b.enum("", {"ANONYMOUS": 7})
    btf = b.btf()
    expected = {
        "unsigned": {"BIG": 0xFFFFFFFF, "ONE": 1},
        "signed": {"MINUS": -1, "TWO": 2},
        "unsigned64": {"HUGE": 0xFFFFFFFF00000001},
        "signed64": {"LOW": -(1 << 40), "HIGH": 1 << 40},
    }
    assert dict(btf.enums()) == expected
    assert {name: btf.enum(name) for name in btf.enum_names()} == expected
    assert btf.enum("absent") == {}
    assert btf.enum("ONE") == {}, "an enumerator is no enum"


def test_members_through_anonymous_structures() -> None:
    b = Builder()
    number = b.integer()
    inner = b.struct("", 8, [("missed", number)])
    multi = b.struct("", 8, [("missed", b.alias(Kind.CONST, number)), ("", inner)])
    unnamed = b.union("", 8, [("raw", number), ("kprobe_multi", multi)])
    b.struct("bpf_link_info", 16, [("type", number), ("", b.alias(Kind.VOLATILE, unnamed))])
    b.union("not_a_struct", 8, [("member", number)])
    btf = b.btf()
    assert btf.has_member("bpf_link_info", "type")
    assert btf.has_member("bpf_link_info", "kprobe_multi")
    assert btf.has_member("bpf_link_info", "kprobe_multi", "missed")
    assert not btf.has_member("bpf_link_info", "missed")
    assert not btf.has_member("bpf_link_info", "type", "missed")
    assert not btf.has_member("absent", "type")
    assert not btf.has_member("not_a_struct", "member")


def module_and_base() -> tuple[Builder, Builder]:
    base = Builder()
    base.func("kernel_function", base.ptr(base.struct("sk_buff", 232)))
    base.fwd("ovs_drop_reason")
    return base, Builder(base)


def test_a_modules_types_and_strings_continue_those_of_its_base() -> None:
    base, module = module_and_base()
    module.enum("first_string_of_all", {"A": 1})
    module.enum("ovs_drop_reason", {"OVS_DROP_LAST_ACTION": 0x30001})
    module.func("module_function", 2, 1)
    btf = module.btf(base.btf(), "openvswitch")
    (function,) = btf.functions()
    assert function.name == "module_function"
    assert [btf.type_name(t) for _, t in btf.parameters(function.proto)] == ["", "sk_buff"]
    assert btf.size(TypeId(1)) == 232
    assert btf.function("module_function") == function
    assert btf.function("kernel_function") is None, "that is the base's"
    assert btf.enum("first_string_of_all") == {"A": 1}, "it stands at offset 0 of the strings"
    assert btf.enum("ovs_drop_reason") == {"OVS_DROP_LAST_ACTION": 0x30001}, "base has the string"
    assert btf.enum("absent") == {}


def test_a_module_without_strings_or_types_of_its_own() -> None:
    base, module = module_and_base()
    btf = module.btf(base.btf(), "empty")
    assert list(btf.functions()) == []
    module.enum("sk_buff", {"kernel_function": 3})
    assert module.btf(base.btf()).enum("sk_buff") == {"kernel_function": 3}


def test_more_elements_than_16_bits_count() -> None:
    b = Builder()
    b.enum("long", {f"E{n}": n for n in range(0x10001)})
    b.func("after", 1)
    btf = b.btf()
    assert len(btf.enum("long")) == 0x10001
    assert btf.function("after") is not None


LAYOUT = b"".join(
    struct.pack("=BBH", 4 * fixed, 4 * each, 0)
    for fixed, each in zip([*_FIXED, 1, 0], [*_EACH, 2, 1], strict=True)
)


def test_kinds_to_come_are_stepped_over_when_the_btf_tells_their_size() -> None:
    b = Builder()
    unknown = b.add(20, "later", 4, 1, 2, 3, 4, 5, vlen=2)
    b.add(21, "", 4, 6, 7, vlen=2)
    number = b.integer()
    b.func("after", unknown, number)
    btf = Btf(b.raw(LAYOUT))
    function = btf.function("after")
    assert function is not None
    assert btf.kind(TypeId(unknown)) is None
    assert btf.size(TypeId(unknown)) == 0
    assert btf.parameter_types(function.proto) == (unknown, number)


def message(raw: bytes, base: Btf | None = None) -> str:
    with pytest.raises(FeatureUnsupportedError) as raised:
        Btf(raw, base, "veth" if base else "vmlinux")
    assert raised.value.feature == "BTF"
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kind", [20, 31, 32, 127])
def test_an_unknown_kind(kind: int) -> None:
    b = Builder()
    b.add(kind, "new", 0)
    b.integer()
    expected = "BTF of vmlinux has a type that this version does not know"
    assert message(b.raw()) == expected
    if kind > 21:
        assert message(b.raw(LAYOUT)) == expected


def test_another_machines_byte_order_and_other_files() -> None:
    raw = module_and_base()[0].raw()
    assert "machine's byte order" in message(b"\xeb\x9f" + raw[2:])
    assert "machine's byte order" in message(bytes(64))
    assert "machine's byte order" in message(raw[:2] + b"\x02" + raw[3:])


def test_cut_short_anywhere() -> None:
    b, _ = module_and_base()
    b.everything()
    raw = b.raw()
    for length in range(len(raw)):
        assert "cut short" in message(raw[:length])


def test_sections_that_end_within_something() -> None:
    b, module = module_and_base()
    raw = bytearray(b.raw())
    types_length = struct.unpack_from("=I", raw, 12)[0]
    # By whole words and by bytes: whatever is parsed as a prefix must not be taken for the whole.
    for less in (1, 4, 8):
        struct.pack_into("=I", raw, 12, types_length - less)
        assert "type" in message(bytes(raw))
    struct.pack_into("=I", raw, 12, types_length)
    raw[-1] = ord("x")
    assert message(bytes(raw)) == "BTF of vmlinux ends within a string"
    module.string("name")
    assert message(module.raw()[:-1], b.btf()) == "BTF of veth is cut short"


@given(st.data())
def test_damaged_btf_is_refused_or_read_but_never_crashes_the_walk(data: st.DataObject) -> None:
    b, _ = module_and_base()
    b.everything()
    raw = bytearray(b.raw())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        btf = Btf(bytes(raw))
    except FeatureUnsupportedError:
        return
    assert len(list(btf.function_protos())) <= b.count


NAMES = st.text("abcdefghij_", min_size=1, max_size=4)


@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(-(1 << 31), (1 << 31) - 1))),
    st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(-(1 << 63), (1 << 63) - 1))),
)
def test_what_is_written_is_read(
    kernel: dict[str, dict[str, int]], modules: dict[str, dict[str, int]]
) -> None:
    base = Builder()
    for name, values in kernel.items():
        base.enum(name, values, signed=True)
    module = Builder(base)
    for name, values in modules.items():
        module.enum64(name, values, signed=True)
        module.func(f"{name}_func")
    vmlinux = base.btf()
    split = module.btf(vmlinux, "m")
    assert dict(vmlinux.enums()) == {name: values for name, values in kernel.items() if values}
    assert dict(split.enums()) == {name: values for name, values in modules.items() if values}
    assert {name: split.enum(name) for name in modules} == modules
    assert all(split.function(f"{name}_func") for name in modules)


# Files


def test_a_raw_file() -> None:
    assert from_file(module_and_base()[0].raw(), "/boot/btf").function("kernel_function")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "/boot/btf holds no BTF, raw or in an ELF file"),
        (b"#!/bin/sh\n", "/boot/btf holds no BTF, raw or in an ELF file"),
        (b"\x9f\xeb", "BTF of /boot/btf is cut short"),
        (b"\x7fELF", "cannot read ELF file /boot/btf: "),
        (b"\x7fELF\x02\x01\x01" + bytes(20), "cannot read ELF file /boot/btf: "),
    ],
)
def test_files_that_hold_none(raw: bytes, text: str) -> None:
    with pytest.raises(FeatureUnsupportedError) as raised:
        from_file(raw, "/boot/btf")
    assert str(raised.value).startswith(text)
    assert "\n" not in str(raised.value)


def test_elf_files(tmp_path: Path) -> None:
    source, target = tmp_path / "a.c", tmp_path / "a.o"
    source.write_text("struct outer { union { int a; int b; }; } variable;")
    command = ["clang", "-target", "bpf", "-c", str(source), "-o", str(target)]
    subprocess.run([*command, "-g"], check=True)
    assert from_file(target.read_bytes(), "a.o").has_member("outer", "b")
    subprocess.run(command, check=True)
    with pytest.raises(FeatureUnsupportedError, match=r"^a\.o is an ELF file without BTF$"):
        from_file(target.read_bytes(), "a.o")
    subprocess.run(["clang", "-c", "-g", str(source), "-o", str(target)], check=True)
    with pytest.raises(FeatureUnsupportedError, match=r"pahole .*=FILE a\.o makes it$"):
        from_file(target.read_bytes(), "a.o")


def test_bit_fields_and_what_integers_mean() -> None:
    b = Builder()
    signed, boolean, plain = b.integer("int", 4, 1), b.integer("_Bool", 1, 4), b.integer("u8", 1)
    mixed = b.fields("mixed", 8, [("a", plain, 0, 3), ("b", signed, 5, 13), ("c", boolean, 32, 0)])
    b.struct_at("even", {"x": 4, "y": 8}, plain)
    b.array(plain, 7)
    btf = b.btf()
    assert list(btf.layout(TypeId(mixed))) == [
        ("a", plain, 0, 3), ("b", signed, 5, 13), ("c", boolean, 32, 0),
    ]  # fmt: skip
    assert [m.at_bits for m in btf.layout(TypeId(mixed + 1))] == [32, 64]
    assert [btf.integer(TypeId(i)) for i in (signed, boolean, plain)] == [
        (True, False), (False, True), (False, False),
    ]  # fmt: skip
    assert btf.array_length(TypeId(mixed + 2)) == 7


def test_an_enumerator_in_any_enum() -> None:
    b = Builder()
    b.enum("", {"TCP_CLOSE": 7})
    big = b.enum64("wide", {"FAR": 1 << 40, "LESS": -1}, signed=True)
    b.struct("TCP_OPEN")
    btf = b.btf()
    assert [btf.enumerator(n) for n in ("TCP_CLOSE", "FAR", "LESS", "TCP_OPEN", "none")] == [
        7, 1 << 40, -1, None, None,
    ]  # fmt: skip
    assert btf.enumerators(TypeId(big)) == {"FAR": 1 << 40, "LESS": -1}
