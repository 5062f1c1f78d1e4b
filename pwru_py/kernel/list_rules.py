# SPDX-License-Identifier: Apache-2.0
"""The process behind ``pwru_py.kernel.rules``: lists the rules of a network namespace.

Asked ``nft INODE`` it answers with the namespace's cookie, 0 where the kernel does not tell (before
5.14), and with what nft(8) lists. Asked ``xtables INODE``, behind the cookie, with the tables of
iptables and ip6tables: of each a line as ``facts.xtables`` reads it, with the rules as the kernel
has them, and what ``iptables-save`` prints. It asks for tables that are there already, so it makes
none. A line ``END`` ends each answer; of a namespace that nothing leads to it is all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys

from .netns import Paths, enter

END = "end of the list"
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h
_INFO, _ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; IP6T_ have the same numbers
_NAME_BYTES, _HOOKS = 32, 5
_INFO_FORM = struct.Struct(f"={_NAME_BYTES}sI{_HOOKS}I{_HOOKS}III")  # struct ipt_getinfo
_HEAD_BYTES = 40  # of struct ipt_get_entries: name, size, 4 unused
_FAMILIES = (
    ("ip", socket.AF_INET, socket.IPPROTO_IP),
    ("ip6", socket.AF_INET6, socket.IPPROTO_IPV6),
)
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Answers until standard input ends."""
    paths = Paths()
    for line in sys.stdin:
        what, inode = line.split()
        with contextlib.suppress(OSError):
            enter(paths.find(int(inode)))
            print(_cookie())
            if what == "nft":
                print(_output("nft", "-a", "list", "ruleset"), end="")
            else:
                _print_tables()
        print(END, flush=True)


def _print_tables() -> None:
    for family, protocol, level in _FAMILIES:
        try:
            with open(f"/proc/net/{family}_tables_names") as names:
                tables = names.read().split()
            with socket.socket(protocol, socket.SOCK_RAW, socket.IPPROTO_RAW) as asked:
                for table in tables:
                    _print_table(asked, family, level, table)
        except OSError:
            continue


def _cookie() -> int:
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            cookie = asked.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError:
        return 0
    return int.from_bytes(cookie, sys.byteorder)


def _print_table(asked: socket.socket, family: str, level: int, table: str) -> None:
    name = table.encode()
    info = _get(asked, level, _INFO, name.ljust(_INFO_FORM.size, b"\0"))
    _name, valid, *hooks, _count, size = _INFO_FORM.unpack(info)
    asking = name.ljust(_NAME_BYTES, b"\0") + struct.pack("=II", size, 0)
    entries = _get(asked, level, _ENTRIES, asking.ljust(_HEAD_BYTES + size, b"\0"))
    numbers = " ".join(map(str, hooks))
    print(f"table {family} {table} {valid} {numbers} {entries[_HEAD_BYTES:].hex()}")
    print(_saved(f"{family}tables", table))


def _get(asked: socket.socket, level: int, option: int, value: bytes) -> bytes:
    """getsockopt(2); Python's own takes 1 024 bytes at most."""
    buffer, length = ctypes.create_string_buffer(value, len(value)), ctypes.c_uint32(len(value))
    if _libc.getsockopt(asked.fileno(), level, option, buffer, ctypes.byref(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


def _saved(tool: str, table: str) -> str:
    """What the tool says of the table, with counters; '' where there is none for x_tables."""
    command = shutil.which(f"{tool}-legacy-save") or shutil.which(f"{tool}-save")
    if command is None:
        return ""
    if not command.endswith("-legacy-save") and "nf_tables" in _output(command, "-V"):
        return ""
    return _output(command, "-c", "-t", table)


def _output(*command: str) -> str:
    ran = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    return ran.stdout.decode(errors="backslashreplace")
