# SPDX-License-Identifier: Apache-2.0
"""The command line: ``argv`` in, an ``Options`` out. Nothing is printed and nothing exits here."""

from __future__ import annotations

import re
import warnings
from argparse import Action, ArgumentError, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from .._version import __version__
from ..errors import UsageError
from .config import Backend, Config, Mark, Timestamp, Transport

_Word = TypeVar("_Word", bound=StrEnum)

EPILOG = """\
the filter is a pcap-filter(7) expression; flags may stand before, between and
after its words, -- ends them. Flags without a value take =true and =false too.

examples:
  pwru-py 'dst host 1.1.1.1 and tcp'              where do these packets go?
  pwru-py --output-stack 'dst host 1.1.1.1'       ... and who called
  pwru-py --filter-func 'kfree_skb_reason|sk_skb_reason_drop'     drops alone
  pwru-py --filter-track-skb dst port 8080        follow it through NAT
  pwru-py --output-json -w trace.jsonl icmp       one JSON object a line

PROCESS is command:pid. In parentheses, (command:pid), the function ran in an
interrupt: that process was merely the one on the CPU and need not know of the
packet.

exit status: 0 after a signal, the line limit, help or version; 1 when tracing
failed; 2 when the command line is wrong.
"""

LIST = "A,B"
_Flag = tuple[str, str | None, str]  # names, metavar (None: a switch), help

FLAGS: dict[str, tuple[_Flag, ...]] = {
    "which packets and functions": (
        ("--filter-tunnel-pcap-l2", "EXPR", "frame inside VXLAN, Geneve, GRE"),
        ("--filter-tunnel-pcap-l3", "EXPR", "IP packet inside those, and IPIP"),
        ("--filter-func", "RE", "functions whose whole name matches"),
        ("--filter-netns", "NS", "namespace: name, path, inode:N or pid:N"),
        ("-i --filter-ifname", "NAME", "interface, in NS if that is given"),
        ("--filter-mark", "M[/MASK]", "skb->mark, decimal or 0x hexadecimal"),
        ("--filter-track-skb", None, "follow matched packets, through NAT too"),
        ("--kmods", LIST, "functions of these modules too"),
        ("--all-kmods", None, "functions of every loaded module too"),
    ),
    "what is shown, and where": (
        ("--output-meta", None, "columns NETNS to LEN (on unless =false)"),
        ("--output-tuple", None, "addresses and ports (on unless =false)"),
        ("--output-tcp-flags", None, "TCP flags inside the tuple"),
        ("--output-stack", None, "the callers, beneath each event"),
        ("--output-json", None, "one JSON object a line"),
        ("--timestamp", "MODE", "none, current, relative or absolute"),
        ("-w --output-file", "FILE", "write there; - is standard output"),
        ("-c --output-limit-lines", "N", "exit after N events"),
    ),
    "kernel": (
        ("--backend", "B", "auto, fentry-multi, kprobe-multi or kprobe"),
        ("--transport", "T", "auto, ring or queue"),
        ("--buffer-size", "SIZE", "MiB or with K, M, G; up to a power of 2"),
        ("--kernel-btf", "FILE", "BTF for a kernel that carries none"),
    ),
    "other": (
        ("--list-funcs", None, "print what would be traced, and exit"),
        ("-d", None, "print the filter as cBPF and eBPF, exit"),
        ("--ready-file", "FILE", "create FILE once all is attached"),
        ("--debug", None, "what failed to attach; tracebacks"),
        ("--version", None, "print the version, and exit"),
        ("-h --help", None, "print this, and exit"),
    ),
}
_ROWS = [row for rows in FLAGS.values() for row in rows]
ALL_NAMES = frozenset(name for names, _, _ in _ROWS for name in names.split())
SWITCHES = frozenset(name for names, value, _ in _ROWS if not value for name in names.split())

# pwru's own flags that are still to come, so that the answer is not "unknown".
PWRU_ONLY = """
    --filter-track-skb-by-stackid --filter-non-skb-funcs --filter-track-bpf-helpers
    --filter-trace-tc --filter-trace-xdp
    --filter-skb-expr --filter-xdp-expr --filter-kprobe-batch --output-tunnel --output-caller
    --output-skb --output-skb-cb --output-skb-shared-info --output-skb-metadata
    --output-xdp-metadata --output-bpfmap --output-netns-names --netns-names-max-length
"""

BUFFER_LIMIT_BYTES = 1 << 31  # a power of two that fits max_entries of a map, 32 bits
_SIZE = re.compile("([0-9]{1,10})([KMG]?)(?:I?B)?", re.IGNORECASE)
_UNIT_BITS = {"": 20, "K": 10, "M": 20, "G": 30}
_SEE = " (see --help)"
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class HelpRequested(Exception):
    """``--help``: the argument is the text to print."""


class VersionRequested(Exception):
    """``--version``: the argument is the text to print."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the command line says.

    ``output_file``: '' for standard output. ``dump_filter``: ``-d``. ``output_tuple`` and
    ``output_stack`` are in ``config`` too.
    """

    config: Config
    output_meta: bool = True
    output_tuple: bool = True
    output_tcp_flags: bool = False
    output_stack: bool = False
    output_json: bool = False
    output_file: str = ""
    timestamp: Timestamp = Timestamp.NONE
    list_funcs: bool = False
    dump_filter: bool = False
    ready_file: str = ""
    debug: bool = False

    def __post_init__(self) -> None:
        if self.list_funcs and self.dump_filter:
            raise UsageError("-d and --list-funcs each print their own and exit: give one")
        if self.output_tcp_flags and not self.output_tuple:
            raise UsageError("--output-tcp-flags is shown in the tuple: drop --output-tuple=false")


def parse(argv: Sequence[str]) -> Options:
    """Read the arguments after the program's name.

    Raises UsageError, in one line; HelpRequested and VersionRequested with their text.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    parser = build_parser()
    try:
        found, rest = parser.parse_known_args([_with_value(word) for word in argv[:end]])
    except ArgumentError as error:
        flag = (error.argument_name or "").rpartition("/")[2]
        raise UsageError(f"{flag}: {error.message.replace('argument', 'value')}{_SEE}") from None
    if _switch(found, "help"):
        raise HelpRequested(parser.format_help())
    if _switch(found, "version"):
        raise VersionRequested(f"pwru-py {__version__}")
    for word in rest:
        if word.startswith("-") and len(word) > 1:
            raise UsageError(_unknown(word.partition("=")[0]))
    for dest, value in vars(found).items():
        if value == "":
            raise UsageError(f"{_flag_name(dest)}: the value is empty{_SEE}")
    return _options(found, " ".join([*rest, *argv[end + 1 :]]))


class _Help(RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=80)

    def _format_action_invocation(self, action: Action) -> str:
        return f"{', '.join(action.option_strings)} {action.metavar or ''}".rstrip()


def build_parser() -> ArgumentParser:
    """The flags. The words of the filter are left to ``parse``: they may stand anywhere."""
    parser = ArgumentParser(
        prog="pwru-py",
        usage="pwru-py [flag ...] [filter ...]",
        description="Packet, where are you? Shows every kernel function a packet passes through.",
        epilog=EPILOG,
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
        exit_on_error=False,
    )
    for title, flags in FLAGS.items():
        add = parser.add_argument_group(title).add_argument
        for names, metavar, text in flags:
            action = "append" if metavar == LIST else "store"
            add(*names.split(), metavar=metavar, action=action, help=text)
    return parser


def _with_value(word: str) -> str:
    """A switch that stands alone means true: no word after it is taken for its value."""
    return f"{word}=true" if word in SWITCHES else word


def _switch(found: Namespace, flag: str, default: bool = False) -> bool:
    text: str | None = getattr(found, flag)
    if text is None:
        return default
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise UsageError(f"{_flag_name(flag)}: {text!r} is not a truth value: give true or false")


def _flag_name(dest: str) -> str:
    return "-d" if dest == "d" else "--" + dest.replace("_", "-")


def _unknown(flag: str) -> str:
    if flag in PWRU_ONLY.split():
        return f"{flag} is a flag of pwru that pwru-py {__version__} does not have yet{_SEE}"
    from difflib import get_close_matches

    known = [name for name in sorted(ALL_NAMES) if name.startswith("--")]
    near = get_close_matches(flag, known, n=1) if flag.startswith("--") else []
    shown = flag if flag.isprintable() else repr(flag)
    return f"unknown flag {shown}" + (f": did you mean {near[0]}?" if near else "") + _SEE


def _options(found: Namespace, words: str) -> Options:
    return Options(
        config=_config(found, words),
        output_meta=_switch(found, "output_meta", True),
        output_tuple=_switch(found, "output_tuple", True),
        output_tcp_flags=_switch(found, "output_tcp_flags"),
        output_stack=_switch(found, "output_stack"),
        output_json=_switch(found, "output_json"),
        output_file="" if found.output_file == "-" else found.output_file or "",
        timestamp=_word(Timestamp, found.timestamp, "--timestamp"),
        list_funcs=_switch(found, "list_funcs"),
        dump_filter=_switch(found, "d"),
        ready_file=found.ready_file or "",
        debug=_switch(found, "debug"),
    )


def _config(found: Namespace, words: str) -> Config:
    return Config(
        filter=words.strip(),
        filter_tunnel_l2=found.filter_tunnel_pcap_l2 or "",
        filter_tunnel_l3=found.filter_tunnel_pcap_l3 or "",
        filter_func=_pattern(found.filter_func or ""),
        filter_netns=found.filter_netns or "",
        filter_ifname=found.filter_ifname or "",
        filter_mark=None if found.filter_mark is None else Mark.parse(found.filter_mark),
        filter_track_skb=_switch(found, "filter_track_skb"),
        kmods=_names(found.kmods or []),
        all_kmods=_switch(found, "all_kmods"),
        kernel_btf=found.kernel_btf or "",
        backend=_word(Backend, found.backend, "--backend"),
        transport=_word(Transport, found.transport, "--transport"),
        output_tuple=_switch(found, "output_tuple", True),
        output_stack=_switch(found, "output_stack"),
        limit_events=_line_limit(found.output_limit_lines),
        buffer_bytes=_buffer_bytes(found.buffer_size),
    )


def _pattern(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a later Python may read otherwise
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"--filter-func: cannot read {text!r}: {error}") from None
    return text


def _names(lists: list[str]) -> tuple[str, ...]:
    """Comma lists put together, each name once, in the order given."""
    names = [name.strip() for text in lists for name in text.split(",")]
    if not all(names):
        raise UsageError("--kmods: a module name is empty: give names separated by commas")
    return tuple(dict.fromkeys(names))


def _word(words: type[_Word], text: str | None, flag: str) -> _Word:
    if text is None:
        return next(iter(words))
    if text not in list(words):
        allowed = ", ".join(words)
        raise UsageError(f"{flag}: unknown word {text!r}: give one of {allowed}")
    return words(text)


def _line_limit(text: str | None) -> int:
    if text is None:
        return 0
    if not re.fullmatch("0*[1-9][0-9]{0,17}", text):
        raise UsageError(f"--output-limit-lines: {text!r} is not a number of lines from 1 up")
    return int(text)


def _buffer_bytes(text: str | None) -> int:
    """MiB, or what the suffix says, rounded up to a power of two; a page at least."""
    if text is None:
        return Config().buffer_bytes
    match = _SIZE.fullmatch(text)
    size = int(match[1]) << _UNIT_BITS[match[2].upper()] if match else 0
    if not 0 < size <= BUFFER_LIMIT_BYTES:
        raise UsageError(
            f"--buffer-size: {text!r} is not a size from 4K to 2G: give MiB, or a number with "
            "K, M or G"
        )
    return max(4096, 1 << (size - 1).bit_length())
