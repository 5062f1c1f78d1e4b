# SPDX-License-Identifier: Apache-2.0
"""Native tests: on the running kernel, by its tracepoints, in namespaces made for them.

They need root, namespaces, and cookies of raw tracepoints (Linux 6.10), and are skipped elsewhere:
the guests' tests show the same there. What is asked here does not ask the code that is tested.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator

import pytest

from tests.native.bpf import RETURN_0, bpf
from tests.native.net import Net

_PROG_LOAD, _RAW_TRACEPOINT_OPEN, _RAW_TRACEPOINT = 5, 17, 17
_PROGRAM = """
__attribute__((section("xdp"), used)) int xdp_drop(void *context) { return 1; }
__attribute__((section("xdp/pass"), used)) int xdp_pass(void *context) { return 2; }
__attribute__((section("tc"), used)) int tc_drop(void *context) { return 2; }
char terms[] __attribute__((section("license"), used)) = "GPL";
"""


def _no_program_with_a_cookie() -> str:
    """The kernel refuses a cookie, the last word, before 6.10."""
    code, terms = ctypes.create_string_buffer(RETURN_0), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("=IIQQ", _RAW_TRACEPOINT, 2, *map(ctypes.addressof, (code, terms)))
    program = bpf(_PROG_LOAD, attr)
    if program < 0:
        return f"no program can be loaded here: {os.strerror(ctypes.get_errno())}"
    name = ctypes.create_string_buffer(b"kfree_skb")
    link = bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QIIQ", ctypes.addressof(name), program, 0, 1))
    refused = os.strerror(ctypes.get_errno())
    for fd in (program, link):
        if fd >= 0:
            os.close(fd)
    return "" if link >= 0 else f"no program with a cookie at a raw tracepoint: {refused}"


def why_not() -> str:
    if os.geteuid():
        return "needs root"
    veth = ["unshare", "--net", "ip", "link", "add", "x", "type", "veth", "peer", "name", "y"]
    made = subprocess.run(veth, capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no namespace with a veth pair can be made here: {made.stderr.strip()}"
    return _no_program_with_a_cookie()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "net" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("native"))


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    """Three namespaces in a row; see ``Net``."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Net() as made:
        yield made


@pytest.fixture(scope="module")
def program(net: Net) -> str:
    """An object whose programs drop everything: sections xdp and tc; xdp/pass lets it pass."""
    source, target = net.directory / "drop.c", net.directory / "drop.o"
    source.write_text(_PROGRAM)
    command = ["clang", "-O2", "-target", "bpf", "-c", str(source), "-o", str(target)]
    subprocess.run(command, check=True, timeout=60)
    return str(target)
