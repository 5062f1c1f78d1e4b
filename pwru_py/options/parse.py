# SPDX-License-Identifier: Apache-2.0
"""The command line: ``argv`` in, an ``Options`` out. Nothing is printed and nothing exits here."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .._version import __version__
from ..errors import UsageError
from ..escape import printable
from ..facts.function_sets import SETS
from .config import Config, Rules, Timestamp, is_arp
from .filter_file import read_filter
from .flags import BY_NAME, GROUPS, Flag, Options

USAGE = """\
usage: pwru-py [flag ...] [filter ...]

"""
ABOUT = """\
Packet, where are you? Shows every kernel function a packet passes through.
"""
FILTER = """\
the filter is a pcap-filter(7) expression; flags may stand before, between and
after its words, -- ends them. Flags without a value take =true and =false too.
"""
TIMES = """\
times (MODE): none (-t); current, ns of the monotonic clock; relative, ns since
this packet's last event; absolute (-tttt), date and time of the event; epoch
(-tt), seconds since 1970; delta (-ttt), ns since the line before; elapsed
(-ttttt), ns since the first line.
"""
SET_USE = "sets of functions in RE, as in '@tcp|ip_rcv'"
EXAMPLES = (
    ("pwru-py 'dst host 1.1.1.1 and tcp'", "where do these packets go?"),
    ("pwru-py --output-stack 'dst host 1.1.1.1'", "... and who called"),
    ("pwru-py --drops", "what is lost, where, and why"),
    ("pwru-py --journey icmp", "from device to device"),
    ("pwru-py --journey --exec 'curl example.com'", "what this command sends"),
    ("pwru-py --filter-track-skb dst port 8080", "follow it through NAT"),
    ("pwru-py --output-json -w trace.jsonl icmp", "one JSON object a line"),
    ("pwru-py -r trace.jsonl --drops", "... shown again, without root"),
)
PROCESS = """\
PROCESS is command:pid. In parentheses, (command:pid), the function ran in an
interrupt: that process was merely the one on the CPU and need not know of the
packet.
"""
STATUS = """\
exit status: 0 after a signal, the line limit, help or version; 1 when tracing
failed; 2 when the command line is wrong. With --exec the command's own.
"""

_SEE = " (see --help)"
_HELP_COLUMN = 33
_OF_CONFIG = {column.name for column in fields(Config)}
_OF_OPTIONS = {column.name for column in fields(Options)}


class HelpRequested(Exception):
    """``--help``: the argument is the text to print."""


class VersionRequested(Exception):
    """``--version``: the argument is the text to print."""


@dataclass(slots=True)
class _Found:
    """Arguments told apart. ``wrong``: the first that makes no sense."""

    words: list[str] = field(default_factory=list)
    texts: dict[Flag, list[str]] = field(default_factory=dict)
    wrong: str = ""


def parse(argv: Sequence[str]) -> Options:
    """Read the arguments after the program's name.

    Raises UsageError, in one line; HelpRequested and VersionRequested with their text.
    """
    found = _tell_apart(argv)
    values: dict[str, Any] = {}
    wrong = found.wrong
    for flag, texts in found.texts.items():
        try:
            values[flag.target] = _value(flag, texts)
        except UsageError as error:
            wrong = wrong or f"{flag.name}: {error}"
    if values.get("help"):
        raise HelpRequested(help_text())
    if values.get("version"):
        raise VersionRequested(f"pwru-py {__version__}")
    if wrong:
        raise UsageError(wrong)
    if values.get("journey_map"):
        values |= {"journey": True, "top": True}
    if values.get("journey_times"):
        values |= {"journey": True, "timestamp": Timestamp.RELATIVE}
    if values.get("journey"):
        values["journey_count"] = values.pop("limit_events", 0)
        values["journey_paths"] = values.pop("top", False)
        if values["journey_paths"] and values.get("output_nf_path"):
            raise UsageError("paths are counted, and tell no rules: leave --output-nf-path out")
    if values.get("prometheus"):
        values["top"] = True
    elif values.get("top"):
        values["flows"] = True
    if values.get("command") and values.get("filter_cgroup"):
        raise UsageError("--exec has a control group of its own: leave --filter-cgroup out")
    expression = " ".join(found.words).strip()
    if values.get("filter_file"):
        if expression:
            raise UsageError("-F FILE has the filter: leave its words out, or write them there")
        expression = read_filter(values["filter_file"])
    if values.get("drops"):
        values.setdefault("timestamp", Timestamp.ABSOLUTE)
    alone = values.get("drops") and values.get("summary_only") and not values.get("read_file")
    if alone and not values.get("limit_events") and not is_arp(expression):
        values["top"] = True  # the kernel counts, and sends nothing
        values["flows"] = values.get("advice", False)  # which needs addresses
    silent = ("top", "journey", "read_file")  # which tell no rules, or in their own way
    if values.get("advice") and not any(map(values.get, silent)):
        values.setdefault("rules", Rules.ON)
    config = {name: value for name, value in values.items() if name in _OF_CONFIG}
    options = {name: value for name, value in values.items() if name in _OF_OPTIONS}
    return Options(Config(filter=expression, **config), **options)


def _tell_apart(argv: Sequence[str]) -> _Found:
    """Flags with the texts of their values, and the words of the filter."""
    found, rest = _Found(), deque(argv)
    while rest:
        word = rest.popleft()
        if word == "--":
            found.words += rest
            break
        if not _is_flag(word):
            found.words.append(word)
            continue
        if _is_cluster(word):
            rest.appendleft(f"-{word[2:]}")
            word = word[:2]
        name, text = _split(word)
        flag = BY_NAME.get(name)
        if flag is None:
            found.wrong = found.wrong or _unknown(name)
            continue
        if text is None and not flag.metavar:
            text = "true"
        elif text is None and rest and not _is_flag(rest[0]):
            text = rest.popleft()
        if text is None:
            found.wrong = found.wrong or f"{flag.name}: expected one value{_SEE}"
        else:
            found.texts.setdefault(flag, []).append(text)
    return found


def _is_flag(word: str) -> bool:
    """Whether it is spelled as a flag. A filter or a value may hold ``-`` and ``-1``."""
    return re.match("-[^0-9]", word) is not None


def _is_cluster(word: str) -> bool:
    """Whether it is a short switch and behind it more short flags, as in ``-ttt`` or ``-nc5``."""
    first, second = BY_NAME.get(word[:2]), BY_NAME.get(f"-{word[2:3]}")
    return (
        first is not None and not first.metavar and second is not None and f"-{word}" not in BY_NAME
    )


def _split(word: str) -> tuple[str, str | None]:
    """A flag's name and the text of a value that is part of the word, as in ``-c5``."""
    name, equals, text = word.partition("=")
    if name in BY_NAME or name.startswith("--") or f"-{name}" in BY_NAME:
        return name, text if equals else None
    short = BY_NAME.get(word[:2])
    if short is None or not short.metavar:
        return name, None
    return word[:2], word[2:].removeprefix("=")


def _value(flag: Flag, texts: list[str]) -> object:
    if "" in texts:
        raise UsageError(f"the value is empty{_SEE}")
    return flag.read(",".join(texts) if flag.many else texts[-1])


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    known = sorted(known for known in BY_NAME if known.startswith("--"))
    near = [f"-{name}"] if f"-{name}" in known else []
    if name.startswith("--"):
        near = get_close_matches(name, known, n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    return f"unknown flag {printable(name)}{hint}{_SEE}"


def help_text() -> str:
    """``--help``."""
    lines = [USAGE + ABOUT]
    for title, flags in GROUPS.items():
        lines.append(f"{title}:")
        for flag in flags:
            names = f"  {', '.join(flag.names)} {flag.metavar}"
            lines.append(f"{names:<{_HELP_COLUMN}}{flag.help}")
        lines.append("")
    examples = "".join(f"  {command:<46}  {about}\n" for command, about in EXAMPLES)
    lines.append(f"{SET_USE}:")
    lines += [f"  @{name:<{_HELP_COLUMN - 3}}{each.purpose}" for name, each in SETS.items()]
    lines.append("")
    return "\n".join([*lines, FILTER, TIMES, f"examples:\n{examples}", PROCESS, STATUS])
