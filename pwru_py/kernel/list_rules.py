# SPDX-License-Identifier: Apache-2.0
"""The process behind ``pwru_py.kernel.rules``: lists the rules of a network namespace.

Asked ``nft INODE`` it answers with the namespace's cookie, 0 where the kernel does not tell (before
5.14), and with what nft(8) lists. Asked ``xtables INODE``, behind the cookie, with the tables of
iptables and ip6tables: of each a line as ``facts.xtables`` reads it, with the rules as the kernel
has them, and what ``iptables-save`` prints. It asks for tables that are there already, so it makes
none. Of rules of iptables-nft nft(8) prints matches and targets of x_tables as if they were its
own: lines ``xt TABLE RULE KIND NAME``, with handles, tell of them, and ``saved TABLE RULE TEXT``
what iptables-nft-save says, as nft leaves comments out. A line ``LISTED`` says that nft has listed
all. A line ``END`` ends each answer; of a namespace that nothing leads to it is all.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys

from .netns import Paths, enter

END, LISTED = "end of the list", "all is listed"
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h
_INFO, _ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; IP6T_ have the same numbers
_NAME_BYTES, _HOOKS = 32, 5
_INFO_FORM = struct.Struct(f"={_NAME_BYTES}sI{_HOOKS}I{_HOOKS}III")  # struct ipt_getinfo
_HEAD_BYTES = 40  # of struct ipt_get_entries: name, size, 4 unused
_FAMILIES = (
    ("ip", socket.AF_INET, socket.IPPROTO_IP),
    ("ip6", socket.AF_INET6, socket.IPPROTO_IPV6),
)
_XT_TABLE = re.compile(r"^table \S+ (filter|nat|mangle|raw|security|broute) ", re.MULTILINE)
_TOOLS = {"ip": "iptables", "ip6": "ip6tables"}
_APPENDED = re.compile(r"\[[0-9]+:[0-9]+\] -A (\S+) ")
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
                _print_ruleset()
            else:
                _print_tables()
        print(END, flush=True)


def _print_ruleset() -> None:
    ran = _run("nft", "-a", "list", "ruleset")
    text = _text(ran)
    print(text, end="")
    if not ran.returncode and (not _XT_TABLE.search(text) or _print_xt()):
        print(LISTED)


def _print_xt() -> bool:
    """Whether nft tells, which it may have been built not to do."""
    ran = _run("nft", "-j", "-a", "list", "ruleset")
    if ran.returncode:
        return False
    items = json.loads(_text(ran))["nftables"]
    tables = [item["table"] for item in items if "table" in item]
    handles = {(table["family"], table["name"]): table["handle"] for table in tables}
    chains: dict[tuple[str, str], dict[str, list[int]]] = {}
    mixed: dict[tuple[str, str], set[int]] = {}
    for rule in (item["rule"] for item in items if "rule" in item):
        key, handle = (rule["family"], rule["table"]), rule["handle"]
        chains.setdefault(key, {}).setdefault(rule["chain"], []).append(handle)
        for xt in (each["xt"] or {} for each in rule["expr"] if "xt" in each):
            print("xt", handles[key], handle, xt.get("type", "match"), xt.get("name", "unknown"))
            mixed.setdefault(key, set()).add(handle)
    for (family, name), rules in mixed.items():
        saved = _saved_by_chain(_TOOLS.get(family, ""), name)
        for chain, numbers in chains[family, name].items():
            lines = saved.get(chain, [])
            for handle, line in zip(numbers, lines, strict=False):
                if handle in rules and len(numbers) == len(lines):
                    print("saved", handles[family, name], handle, line)
    return True


def _saved_by_chain(tool: str, table: str) -> dict[str, list[str]]:
    """Lines of rules, with counters."""
    command, found = shutil.which(f"{tool}-nft-save"), dict[str, list[str]]()
    saved = _output(command, "-c", "-t", table) if command is not None else ""
    for line in saved.splitlines():
        if match := _APPENDED.match(line):
            found.setdefault(match[1], []).append(line)
    return found


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
    return _text(_run(*command))


def _text(ran: subprocess.CompletedProcess[bytes]) -> str:
    return ran.stdout.decode(errors="backslashreplace")


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
