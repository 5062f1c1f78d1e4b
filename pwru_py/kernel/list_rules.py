# SPDX-License-Identifier: Apache-2.0
"""The process behind ``pwru_py.kernel.rules``: lists the rules of a network namespace.

Asked ``nft INODE COOKIE`` it answers with the namespace's cookie, 0 where the kernel does not tell
(before 5.14), and with what nft(8) lists. Asked ``xtables INODE COOKIE``, behind the cookie, with
the tables of iptables, ip6tables and arptables: of each a line as ``facts.xtables`` reads it, with
the rules as the kernel has them, and what ``iptables-save`` prints, what ``arptables-legacy`` lists
in the same form. It asks for tables that are there already, so it makes none. Of ebtables nothing
tells which are there, and who asks for one makes it: asked ``bridge:TABLE INODE COOKIE``, for one
that a packet has been in, it answers with that one, as ``facts.ebtables`` reads it, if the
namespace has that cookie. Of rules of iptables-nft nft(8) prints matches and targets of x_tables as
if they were its own: lines ``xt TABLE RULE KIND NAME``, with handles, tell of them, and ``saved
TABLE RULE TEXT`` what iptables-nft-save says, as nft leaves comments out. A line ``LISTED`` says
that nft has listed all. A line ``END`` ends each answer; of a namespace that nothing leads to it is
all.
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
from typing import NamedTuple

from . import system
from .netns import Paths, enter

END, LISTED = "end of the list", "all is listed"
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h
_NAME_BYTES, _HOOKS = 32, 5
_HEAD_BYTES = 40  # of struct ipt_get_entries: name, size, 4 unused


class _Family(NamedTuple):
    """``info``: IPT_SO_GET_INFO, ARPT_SO_GET_INFO; the next number is ..._GET_ENTRIES. ``hooks``:
    how many struct ipt_getinfo, arpt_getinfo tells of.
    """

    name: str
    protocol: int
    level: int
    info: int
    hooks: int


_FAMILIES = (
    _Family("ip", socket.AF_INET, socket.IPPROTO_IP, 64, _HOOKS),
    _Family("ip6", socket.AF_INET6, socket.IPPROTO_IPV6, 64, _HOOKS),
    _Family("arp", socket.AF_INET, socket.IPPROTO_IP, 96, 3),
)
_XT_TABLE = re.compile(r"^table \S+ (filter|nat|mangle|raw|security|broute) ", re.MULTILINE)
_TOOLS = {"ip": "iptables", "ip6": "ip6tables"}
_APPENDED = re.compile(r"\[[0-9]+:[0-9]+\] -A (\S+) ")
_EB_INFO = 128  # EBT_SO_GET_INFO; the next one is EBT_SO_GET_ENTRIES
# struct ebt_replace: name, valid_hooks, nentries, entries_size, hook_entry, num_counters, counters,
# entries
_EB_FORM = struct.Struct("@32sIII6PIPP")
_EB_CHAIN = re.compile(r"Bridge chain: (\S+), entries: .*")
_EB_RULE = re.compile(r"(.*?) ?, pcnt = ([0-9]+) -- bcnt = ([0-9]+)")
_ARP_CHAIN = re.compile(r"Chain (\S+) \(.*\)")
_ARP_RULE = re.compile(r"(.*) , pcnt=([0-9]+) -- bcnt=([0-9]+) ?")
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Answers until standard input ends."""
    paths = Paths()
    for line in sys.stdin:
        what, inode, wanted = line.split()
        with contextlib.suppress(OSError):
            enter(paths.find(int(inode)))
            there = _cookie()
            print(there)
            kind, _, table = what.partition(":")
            if kind == "nft":
                _print_ruleset()
            elif kind == "xtables":
                _print_tables()
            elif not there or there == int(wanted):
                _print_bridge_table(table)
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
    for family in _FAMILIES:
        try:
            with open(f"/proc/net/{family.name}_tables_names") as names:
                tables = names.read().split()
            with socket.socket(family.protocol, socket.SOCK_RAW, socket.IPPROTO_RAW) as asked:
                for table in tables:
                    _print_table(asked, family, table)
        except OSError:
            continue


def _print_bridge_table(table: str) -> None:
    """One that is there. Its module is not loaded for this."""
    loaded = system.loaded_modules()
    if "ebtables" in loaded and f"ebtable_{table}" not in loaded:
        return
    none, name = (0,) * 6, table.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as asked:
        asking = _EB_FORM.pack(name, 0, 0, 0, *none, 0, 0, 0)
        info = _EB_FORM.unpack(_get(asked, socket.IPPROTO_IP, _EB_INFO, asking))
        _name, valid, count, size = info[:4]
        rules = ctypes.create_string_buffer(size)
        at = ctypes.addressof(rules)
        asking = _EB_FORM.pack(name, valid, count, size, *none, 0, 0, at)
        _get(asked, socket.IPPROTO_IP, _EB_INFO + 1, asking.ljust(_EB_FORM.size + size, b"\0"))
    print(f"bridge {table} {rules.raw.hex()}")
    command = shutil.which("ebtables-legacy")
    chain = ""
    for line in _output(command, "-t", table, "-L", "--Lc").splitlines() if command else ():
        if match := _EB_CHAIN.fullmatch(line):
            chain = match[1]
        elif match := _EB_RULE.fullmatch(line):
            print(f"[{match[2]}:{match[3]}] -A {chain} {match[1]}")


def _cookie() -> int:
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            cookie = asked.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError:
        return 0
    return int.from_bytes(cookie, sys.byteorder)


def _print_table(asked: socket.socket, family: _Family, table: str) -> None:
    name = table.encode()
    form = struct.Struct(f"={_NAME_BYTES}sI{family.hooks}I{family.hooks}III")  # struct ipt_getinfo
    info = _get(asked, family.level, family.info, name.ljust(form.size, b"\0"))
    _name, valid, *hooks, _count, size = form.unpack(info)
    asking = name.ljust(_NAME_BYTES, b"\0") + struct.pack("=II", size, 0)
    wanted = asking.ljust(_HEAD_BYTES + size, b"\0")
    entries = _get(asked, family.level, family.info + 1, wanted)
    none = (0,) * (_HOOKS - family.hooks)
    numbers = " ".join(map(str, (*hooks[: family.hooks], *none, *hooks[family.hooks :], *none)))
    print(f"table {family.name} {table} {valid} {numbers} {entries[_HEAD_BYTES:].hex()}")
    print(_listed_arp(table) if family.name == "arp" else _saved(f"{family.name}tables", table))


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


def _listed_arp(table: str) -> str:
    """As iptables-save would say it: arptables-save asks whatever ``arptables`` is."""
    command = shutil.which("arptables-legacy")
    lines, chain = list[str](), ""
    for line in _output(command, "-t", table, "-L", "-n", "-v").splitlines() if command else ():
        if match := _ARP_CHAIN.fullmatch(line):
            chain = match[1]
        elif match := _ARP_RULE.fullmatch(line):
            text = f" {match[1]}".replace(" -i *", "").replace(" -o *", "")  # any interface
            lines.append(f"[{match[2]}:{match[3]}] -A {chain}{text}")
    return "\n".join(lines)


def _output(*command: str) -> str:
    return _text(_run(*command))


def _text(ran: subprocess.CompletedProcess[bytes]) -> str:
    return ran.stdout.decode(errors="backslashreplace")


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
