# SPDX-License-Identifier: Apache-2.0
"""What can be said of libbpf without a kernel that loads anything."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pwru_filters import Cast

from pwru_py.cli import main
from pwru_py.errors import FeatureUnsupportedError, LoadError
from pwru_py.expressions.compiled import Compiled
from pwru_py.facts.btf import from_file
from pwru_py.kernel.libbpf import BpfObject, Libbpf, _keep, log
from pwru_py.programs import splice as objects
from pwru_py.programs.splice import (
    CONDITION,
    METADATA,
    OUTER,
    compile_expression,
    filter_places,
    hot_program,
    object_bytes,
)


def test_a_missing_library_is_told_with_the_remedy() -> None:
    with pytest.raises(FeatureUnsupportedError) as caught:
        Libbpf("libnosuch.so.1")
    message = str(caught.value)
    assert "libbpf 1.0 or later" in message
    assert "apt install libbpf1" in message
    assert (caught.value.feature, caught.value.since) == ("libbpf", "1.0")


def test_a_library_without_its_functions_is_too_old() -> None:
    with pytest.raises(FeatureUnsupportedError, match=r"libbpf 1\.0 or later"):
        Libbpf("libm.so.6")


def test_a_program_that_was_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(objects, "_DIRECTORY", str(tmp_path))
    assert main(["-d", "tcp"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "pwru-py: cannot read the BPF program places.txt of this installation (no such file or "
        "directory): install pwru-py again, or run bpf/build.py in a source tree\n"
    )


def test_the_spliced_object_opens_and_has_its_programs() -> None:
    elf = object_bytes("typed", {})
    compiled = compile_expression("host 1.1.1.1 and tcp port 80")
    spliced = object_bytes("typed", {OUTER: compiled})
    place = filter_places("typed-small")[OUTER]
    assert len(spliced) == len(elf)
    assert len(place.offsets) == 3, "in two programs, and once for all other uses"
    size = (2 + place.capacity) * 8
    for offset in place.offsets:
        assert spliced[offset + size - len(compiled.code) : offset + size] == compiled.code
    changed = [i for i, (a, b) in enumerate(zip(elf, spliced, strict=True)) if a != b]
    assert all(any(o <= i < o + size for o in place.offsets) for i in changed)
    with BpfObject(Libbpf(), spliced) as opened:
        names = {program.name for program in opened.programs()}
    assert {"trace_skb", "trace_skb_tag", "trace_skb_any"} <= names


@pytest.mark.parametrize("programs", ["plain", "typed", "fentry"])
def test_the_programs_of_each_object(programs: str) -> None:
    with BpfObject(Libbpf(), object_bytes(programs, {})) as opened:
        names = {program.name for program in opened.programs()}
    traced = {name for name in names if name.startswith("trace_")}
    others = {"trace_skb_flat"} if programs == "plain" else set()
    if programs != "fentry":
        others |= {"trace_call", "trace_return", "trace_session"}
    assert traced == {"trace_skb", "trace_skb_tag", "trace_skb_any", "trace_inside"} | others


@pytest.mark.parametrize(
    ("expression", "plain", "typed"),
    [
        ("tcp or icmp", "trace_skb_flat", "trace_skb"),
        ("host 10.0.0.1", "trace_skb_flat", "trace_skb"),
        ("ip6[24:4] = 1 and ip6[36:4] = 2", "trace_skb_flat", "trace_skb"),
        ("udp and dst port 53", "trace_skb", "trace_skb"),
        ("ip[60] = 1 and ip[0] = 0x4f", None, None),
        ("not tcp", "trace_skb_tag", "trace_skb_tag"),
        ("vlan 7", "trace_skb_tag", "trace_skb_tag"),
        ("ether host 02:00:00:00:00:01", None, None),
        ("len > 100 and ip", None, None),
        ("tcp[20] = 1", None, None),
        ("", None, None),
    ],
)
def test_which_program_runs_a_filter(expression: str, plain: str | None, typed: str | None) -> None:
    assert hot_program(compile_expression(expression)) == plain
    assert hot_program(compile_expression(expression, cast=Cast(1, 2))) == typed


def test_a_long_filter_takes_the_large_object() -> None:
    hosts = " or ".join(f"host 10.0.{n}.1" for n in range(200))
    compiled = {OUTER: compile_expression(hosts)}
    assert len(compiled[OUTER].ebpf) > filter_places("plain-small")[OUTER].capacity
    assert len(object_bytes("plain", compiled)) > len(object_bytes("plain", {}))


GARBAGE = """
import gc
from pwru_py.errors import LoadError
from pwru_py.kernel.libbpf import BpfObject, Libbpf, _keep, log
first, second = Libbpf(), Libbpf()
del second
gc.collect()
try:
    BpfObject(first, b"no ELF file")
except LoadError as error:
    print(error.log)
"""


def test_a_session_that_has_ended_leaves_libbpf_a_callback() -> None:
    """In a process of its own: it was a pointer to nothing."""
    done = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("libbpf: ")


def test_what_libbpf_says_stays_with_the_thread_that_made_it() -> None:
    def broken() -> str:
        with pytest.raises(LoadError) as caught:
            BpfObject(Libbpf(), b"no ELF file")
        return caught.value.log

    log().append("mine")
    with ThreadPoolExecutor(1) as other:
        assert other.submit(broken).result().startswith("libbpf: ")
    assert log() == ["mine"]


def test_a_long_message_is_kept_to_its_end() -> None:
    """The reason of a refusal stands at the end of a log of megabytes."""
    words = b"x" * (3 << 20) + b"the reason"
    pointer = ctypes.c_char_p(words)
    # va_list of the System V ABI, all of whose registers are used up: x86-64 psABI, 3.5.7.
    arguments = struct.pack("=IIQQ", 48, 304, ctypes.addressof(pointer), 0)
    log().clear()
    assert _keep(0, b"%s", ctypes.addressof(ctypes.create_string_buffer(arguments))) == len(words)
    assert log() == [words.decode()]


def test_field_expressions_go_to_their_places() -> None:
    code = Compiled(bytes(8) * 3)
    elf = object_bytes("plain", {CONDITION: code, METADATA: code})
    for name in (CONDITION, METADATA):
        (offset,), capacity = filter_places("plain-small")[name]
        end = offset + (2 + capacity) * 8
        assert elf[end - 24 : end] == code.code
    long = object_bytes("plain", {CONDITION: Compiled(bytes(8) * 300)})
    assert len(long) == len(object_bytes("plain", {METADATA: Compiled(bytes(8) * 4096)}))
    assert len(long) > len(elf)


def test_verifiers_before_6_8_know_no_ethertype() -> None:
    """They cut out branches of a constant that a function reads at a multiple of 8 bytes."""
    btf = from_file(object_bytes("plain", {}), "plain")
    for struct_name in ("place", "link"):
        assert (btf.member_offset(struct_name, "proto") or 0) % 8, struct_name
