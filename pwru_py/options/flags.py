# SPDX-License-Identifier: Apache-2.0
"""The flags, a row each: how it is spelled, what its value becomes, and where that goes.

A new flag is a row here, and a field of that name in ``Config`` or ``Options``.
"""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ..errors import UsageError
from ..escape import quote
from ..facts.conntrack import CtState
from ..facts.function_sets import matcher
from .config import (
    PID_MAX,
    TRACK_ENTRIES,
    Backend,
    Config,
    Engine,
    Mark,
    Rules,
    Timestamp,
    Transport,
)


class Shell(StrEnum):
    """For which there is a completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


BUFFER_LIMIT_BYTES = 1 << 31  # a power of two that fits max_entries of a map, 32 bits
FILE_LIMIT_BYTES = 1 << 40
ROTATED_BYTES = 100 << 20  # pwru's own limit
_SIZE = re.compile("([0-9]{1,10})([KMG]?)(?:I?B)?", re.IGNORECASE)
_BETWEEN_COMMAS = re.compile(r"""(?:^|(?<=,))(?:"[^"]*"|'[^']*'|[^,"'])*["']?""")
_AGE = re.compile("([0-9]{1,6})([smhd]?)")
_UNIT_S = {"": 86400, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNIT_BITS = {"": 20, "K": 10, "M": 20, "G": 30}
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


# Converters: the text of a value to what it means. They raise UsageError.


def switch(text: str) -> bool:
    """True or false, which a flag without a value takes too."""
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise UsageError(f"{quote(text)} is not a truth value: give true or false")


def rules(text: str) -> Rules:
    """A truth value, or ``trace``."""
    if text == Rules.TRACE:
        return Rules.TRACE
    return Rules.ON if switch(text) else Rules.OFF


def pattern(text: str) -> str:
    """A regular expression for function names, in which ``@NAME`` is a set of them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a later Python may read otherwise
            matcher(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"cannot read {quote(text)}: {error}") from None
    return text


def names(text: str) -> tuple[str, ...]:
    """Names between commas, each once, in the order given."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise UsageError("a name is empty: give names separated by commas")
    return tuple(dict.fromkeys(found))


def expressions(text: str) -> tuple[str, ...]:
    """Field expressions between commas, which strings may hold, in the order given."""
    found = tuple(each.strip() for each in _BETWEEN_COMMAS.findall(text))
    if not all(found):
        raise UsageError("an expression is empty: give fields separated by commas")
    return tuple(dict.fromkeys(found))


def word(words: type[StrEnum]) -> Callable[[str], StrEnum]:
    """One of a few words."""

    def read(text: str) -> StrEnum:
        if text not in list(words):
            raise UsageError(f"unknown word {quote(text)}: give one of {', '.join(words)}")
        return words(text)

    return read


def ct_states(text: str) -> tuple[CtState, ...]:
    """States of conntrack between commas, in capitals too."""
    read = word(CtState)
    return tuple(CtState(read(each.lower())) for each in names(text))


def path(text: str) -> str:
    """A file; ``-`` is the stream that is meant without one."""
    return "" if text == "-" else text


def interface(text: str) -> str:
    """A name; tcpdump's ``any`` is no filter."""
    return "" if text == "any" else text


_TIMES = (Timestamp.NONE, Timestamp.EPOCH, Timestamp.DELTA, Timestamp.ABSOLUTE, Timestamp.ELAPSED)


def tcpdump_time(text: str) -> Timestamp:
    """What tcpdump means by ``-t`` to ``-ttttt``: a truth value for each time that it is given."""
    times = sum(switch(each) for each in text.split(","))
    if not 1 <= times <= len(_TIMES):
        raise UsageError(f"give it from 1 to {len(_TIMES)} times, not {times}")
    return _TIMES[times - 1]


def command(text: str) -> tuple[str, ...]:
    """A command and its arguments, as a shell would split them."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"cannot read {quote(text)}: {str(error).lower()}") from None
    if not words:
        raise UsageError("the command is empty")
    return words


def line_limit(text: str) -> int:
    """A number from 1 up."""
    return _number(text, "lines")


def functions_at_once(text: str) -> int:
    """A number from 1 up."""
    return _number(text, "functions")


def buffered(text: str) -> int:
    """A number from 1 up."""
    return _number(text, "bytes")


def followed_packets(text: str) -> int:
    """A number from 1 up."""
    return _number(text, "packets")


def name_length(text: str) -> int:
    """A number from 1 up."""
    return _number(text, "characters")


def report_count(text: str) -> int:
    """A number from 1 up."""
    return _number(text, "reports")


def scrape_at(text: str) -> tuple[str, int]:
    """(address, port), as PORT or ADDR:PORT; the address '' is this machine alone."""
    address, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise UsageError(f"{quote(text)} is not a port from 0 to 65535, or an address:port")
    return address.strip("[]"), int(port)


def _number(text: str, of: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,17}", text):
        raise UsageError(f"{quote(text)} is not a number of {of} from 1 up")
    return int(text)


def seconds(text: str) -> float:
    """From a tenth of a second to a day."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) or not 0.1 <= float(text) <= 86400:
        raise UsageError(f"{quote(text)} is not a number of seconds from 0.1 to 86400")
    return float(text)


def _size_bytes(text: str) -> int:
    """A size in MiB, or in the suffix's unit; 0 if it is none."""
    match = _SIZE.fullmatch(text)
    return int(match[1]) << _UNIT_BITS[match[2].upper()] if match else 0


def file_bytes(text: str) -> int:
    """A size in MiB, or in the suffix's unit."""
    size = _size_bytes(text)
    if not 0 < size <= FILE_LIMIT_BYTES:
        raise UsageError(
            f"{quote(text)} is not a size from 1K to 1024G: give MiB, or a number with K, M or G"
        )
    return size


def file_age_s(text: str) -> float:
    """Days, or a number of the suffix's unit, in seconds; 0 for no limit."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{quote(text)} is not an age: give days, or a number with s, m, h or d; 0 for no limit"
        )
    return float(int(match[1]) * _UNIT_S[match[2]])


def backup_count(text: str) -> int:
    """A number from 0 up; 0 for no limit."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"{quote(text)} is not a number of files; 0 is no limit")
    return int(text)


def process(text: str) -> int:
    """The number of a process."""
    if not re.fullmatch("[1-9][0-9]{0,6}", text) or int(text) > PID_MAX:
        raise UsageError(f"{quote(text)} is not the number of a process")
    return int(text)


def buffer_bytes(text: str) -> int:
    """A size in MiB, or in the suffix's unit, rounded up to a power of two; a page at least."""
    size = _size_bytes(text)
    if not 0 < size <= BUFFER_LIMIT_BYTES:
        raise UsageError(
            f"{quote(text)} is not a size from 4K to 2G: give MiB, or a number with K, M or G"
        )
    return max(4096, 1 << (size - 1).bit_length())


FILES = "file"


class Flag(NamedTuple):
    """One flag.

    ``target``: the field of ``Config``, of ``Options`` or of both that takes the value.
    ``metavar``: '' for a switch. ``many``: it may be given again; the texts are joined by commas.
    ``offers``: what a shell completes its value to: words, ``FILES``, or a kind of ``offers.py``.
    """

    spelling: str
    metavar: str
    target: str
    read: Callable[[str], object]
    help: str
    many: bool = False
    offers: str | tuple[str, ...] = ""

    @property
    def completes(self) -> str | tuple[str, ...]:
        """``offers``; a FILE is one."""
        return FILES if self.metavar == "FILE" else self.offers

    @property
    def names(self) -> list[str]:
        """As it may be typed."""
        return self.spelling.split()

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.names[-1]


def _switch(spelling: str, target: str, text: str) -> Flag:
    return Flag(spelling, "", target, switch, text)


GROUPS: dict[str, tuple[Flag, ...]] = {
    "which packets and functions": (
        Flag("-F", "FILE", "filter_file", str, "the filter from FILE; # begins a comment"),
        Flag("--filter-tunnel-pcap-l2", "EXPR", "filter_tunnel_l2", str,
             "frame inside VXLAN, Geneve, GRE"),
        Flag("--filter-tunnel-pcap-l3", "EXPR", "filter_tunnel_l3", str,
             "IP packet inside those, and IPIP"),
        Flag("--filter-func", "RE", "filter_func", pattern,
             "functions by whole name; @core: see below", offers="func"),
        Flag("--filter-netns", "NS", "filter_netns", str,
             "namespace: name, path, inode:N or pid:N", offers="netns"),
        Flag("-i --filter-ifname", "NAME", "filter_ifname", interface,
             "interface, in NS if that is given; any", offers="ifname"),
        Flag("--filter-mark", "M[/MASK]", "filter_mark", Mark.parse,
             "skb->mark, decimal or 0x hexadecimal"),
        Flag("--filter-ct-state", "S,...", "filter_ct_state", ct_states,
             "to conntrack: new, established, dnat ...", many=True),
        Flag("--filter-ct-mark", "M[/MASK]", "filter_ct_mark", Mark.parse,
             "the mark of conntrack's entry"),
        Flag("--filter-skb-expr", "EXPR", "filter_skb_expr", str,
             "fields, as 'skb->dev->mtu > 1400'"),
        Flag("--filter-return", "EXPR", "filter_return", str,
             "returns alone, as '< 0', '== -EINVAL', NF_DROP"),
        Flag("--filter-cgroup", "GROUP", "filter_cgroup", str,
             "sockets of this control group, and answers", offers=FILES),
        Flag("--filter-pid", "PID", "filter_pid", process,
             "sockets that this process made, and answers"),
        Flag("--filter-comm", "NAME", "filter_comm", str, "the same of processes of this name"),
        Flag("-r", "FILE", "read_file", str, "show a trace that was saved as JSON"),
        Flag("--filter-event", "EXPR", "filter_event", str, "with -r: keys, as 'len > 99'"),
        Flag("--exec", "COMMAND", "command", command, "run it, and trace its packets alone"),
    ),
    "drops and journeys": (
        _switch("--drops", "drops", "packets that are dropped, nothing else"),
        _switch("--journey", "journey", "each packet's way by devices, and its end"),
        _switch("--journey-times", "journey_times", "with times from hop to hop"),
        _switch("--tracepkt", "tracepkt", "its pings' hops, in the form of tracepkt"),
        _switch("--journey-map", "journey_map", "the same, counted: a line for each path"),
        Flag("--journey-timeout", "S", "journey_timeout_s", seconds,
             "silence that ends a journey (2)"),
    ),
    "following, and more functions": (
        _switch("--filter-track-skb", "filter_track_skb",
                "follow matched packets, through NAT too"),
        Flag("--track-size", "N", "track_entries", followed_packets,
             "so many at once (65536)"),
        _switch("--filter-track-skb-by-stackid", "filter_track_skb_by_stackid",
                "and what is done within its functions"),
        Flag("--filter-non-skb-funcs", "F,...", "filter_non_skb_funcs", names,
             "functions without sk_buff within; @inside: all", many=True),
        _switch("--filter-track-bpf-helpers", "filter_track_bpf_helpers",
                "helpers of BPF programs, in the same way"),
        _switch("--with-tracepoints", "with_tracepoints",
                "the kernel's tracepoints, beside functions"),
        _switch("--filter-trace-tc", "filter_trace_tc", "BPF programs at tc, where they begin"),
        _switch("--filter-trace-xdp", "filter_trace_xdp", "the same at XDP"),
        Flag("--filter-xdp-expr", "EXPR", "filter_xdp_expr", str,
             "fields there, as 'xdp->rxq->queue_index == 3'"),
        Flag("--kmods", "A,B", "kmods", names, "functions of these modules too", many=True,
             offers="module"),
        _switch("--all-kmods", "all_kmods", "functions of every loaded module too"),
    ),
    "counts": (
        _switch("--top", "top", "count in place, with --drops/--journey"),
        Flag("--interval", "S", "report_interval_s", seconds, "with --top: report every S seconds"),
        Flag("--count", "N", "report_count", report_count, "with --top: N reports, then exit"),
        Flag("--prometheus", "[ADDR:]PORT", "prometheus", scrape_at,
             "with --drops: counts, to be scraped"),
    ),
    "columns, and what stands beneath an event": (
        Flag("--rules", "", "rules", rules, "which rule of netfilter dropped it (=trace)"),
        _switch("--output-nf-path", "output_nf_path", "each rule of netfilter that matched"),
        _switch("--output-meta", "output_meta", "columns NETNS to LEN (on unless =false)"),
        _switch("--output-netns-names", "output_netns_names", "namespaces by their names"),
        Flag("--netns-names-max-length", "N", "netns_names_max_length", name_length,
             "cut those to N characters"),
        _switch("--output-tuple", "output_tuple", "addresses and ports (on unless =false)"),
        _switch("--output-tcp-flags", "output_tcp_flags", "TCP flags inside the tuple"),
        _switch("--output-caller", "output_caller", "who called the function"),
        _switch("--output-return", "output_return", "what each function returned, and how long"),
        _switch("--output-bpfmap", "output_bpfmap", "keys and values of BPF maps, with returns"),
        _switch("--output-stack", "output_stack", "the callers, beneath each event"),
        Flag("--output-skb-metadata", "F,...", "output_skb_metadata", expressions,
             "values of fields, as skb->mark", many=True),
        Flag("--output-xdp-metadata", "F,...", "output_xdp_metadata", expressions,
             "the same at XDP, as xdp->rxq->queue_index", many=True),
        _switch("--output-tunnel", "output_tunnel", "the packet within a tunnel's packet"),
        _switch("--output-conntrack", "output_conntrack", "what conntrack knows of the packet"),
        _switch("--output-owner", "output_owner", "which process made the packet's socket"),
        _switch("--output-skb", "output_skb", "struct sk_buff, beneath each event"),
        _switch("--output-skb-shared-info", "output_skb_shared_info", "struct skb_shared_info"),
        _switch("--output-skb-cb", "output_skb_cb", "the control block, skb->cb"),
        _switch("--output-packet-id", "output_packet_id", "number each packet; 9<7: made of 7"),
    ),
    "output": (
        _switch("--output-json", "output_json", "one JSON object a line"),
        _switch("--advice", "advice", "why they drop: values, what would help"),
        _switch("--summary-only", "summary_only", "no line an event, the summary at the end alone"),
        _switch("--explain-empty", "explain_empty", "sample packets: why does no event come?"),
        Flag("--timestamp", "MODE", "timestamp", word(Timestamp),
             "a time for each event; MODE: see below", offers=tuple(Timestamp)),
        Flag("-t", "", "timestamp", tcpdump_time, "-t to -ttttt, as in tcpdump: see below",
             many=True),
        _switch("-q", "quiet", "shorter lines: fewer columns"),
        _switch("-n", "numeric", "nothing changes: names are never resolved"),
        Flag("-w --output-file", "FILE", "output_file", path,
             "write there; - is standard output"),
        Flag("--output-file-max-size", "SIZE", "output_file_max_bytes", file_bytes,
             "rotate it at MiB, or K, M, G (100M)"),
        Flag("--output-file-max-age", "AGE", "output_file_max_age_s", file_age_s,
             "rotate, and remove: days, or s, m, h, d"),
        Flag("--output-file-max-backups", "N", "output_file_max_backups", backup_count,
             "rotated files that stay (all)"),
        _switch("--output-file-compress", "output_file_compress", "compress them, with gzip"),
        Flag("-c --output-limit-lines", "N", "limit_events", line_limit, "exit after N events"),
    ),
    "kernel": (
        Flag("--backend", "B", "backend", word(Backend),
             "auto, fentry-multi, kprobe(-multi), tracepoint", offers=tuple(Backend)),
        Flag("--transport", "T", "transport", word(Transport), "auto, ring or queue",
             offers=tuple(Transport)),
        Flag("--buffer-size", "SIZE", "buffer_bytes", buffer_bytes,
             "MiB or with K, M, G; up to a power of 2"),
        Flag("--kernel-btf", "FILE", "kernel_btf", str, "BTF for a kernel that carries none"),
        Flag("--engine", "E", "engine", word(Engine), "auto, libbpf, bcc: types by headers",
             offers=tuple(Engine)),
        Flag("--filter-kprobe-batch", "N", "kprobe_batch", functions_at_once,
             "of pwru, nothing changes: attaching is one step"),
        Flag("--set-percpu-buf", "N", "percpu_buffer", buffered,
             "of pwru, nothing changes: structures are whole"),
    ),
    "other": (
        _switch("--list-funcs", "list_funcs", "print what would be traced, and exit"),
        _switch("-d", "dump_filter", "print the filter as cBPF and eBPF, exit"),
        Flag("--explain", "WORD", "explain", str, "what a drop reason or function means; or list",
             offers="explained"),
        Flag("--ready-file", "FILE", "ready_file", str, "create FILE once all is attached"),
        Flag("--completion", "SHELL", "completion", word(Shell),
             "print a completion for bash, zsh or fish", offers=tuple(Shell)),
        _switch("--man", "man", "print the manual page, for man -l -"),
        _switch("--debug", "debug", "what failed to attach; tracebacks"),
        _switch("--version", "version", "print the version, and exit"),
        _switch("-h --help", "help", "print this, and exit"),
    ),
}  # fmt: skip
FLAGS = tuple(flag for flags in GROUPS.values() for flag in flags)
BY_NAME = {name: flag for flag in FLAGS for name in flag.names}

# What a library reads of a Tracer or of an error, and the flag that shows it.
_SHOWN_BY = {"plan": "--list-funcs", "failures": "--debug", "log": "--debug"}
_SPELLED = {flag.target: flag.name for flag in reversed(FLAGS)} | _SHOWN_BY


def spell(message: str) -> str:
    """A message of the library, which names fields in backquotes, in the words of the flags."""
    return re.sub("`([a-z_0-9]+)`", lambda found: _SPELLED.get(found[1], found[1]), message)


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the command line says.

    ``output_file``: '' for standard output; ``output_file_max_…``: 0 for no limit.
    ``read_file``: a saved trace is shown, ``-`` is standard input; ``filter_event``: which of its
    events. ``dump_filter``: ``-d``. ``journey_count``: that
    many journeys, 0 for no limit. ``journey_paths``: they are counted by path;
    ``explain_empty``: packets are sampled for the case that no event comes.
    ``journey_map``: with a line for each; ``journey_times``: see ``timestamp``. ``tracepkt``: hops
    of pings as they come. ``output_tuple``, ``output_stack``,
    ``output_netns_names`` are in ``config`` too. ``command``:
    it is run, and its packets are traced until it ends. ``advice``: at the end, why packets were
    dropped.
    """

    config: Config
    output_meta: bool = True
    output_tuple: bool = True
    output_tcp_flags: bool = False
    output_packet_id: bool = False
    output_netns_names: bool = False
    netns_names_max_length: int = 0
    output_stack: bool = False
    output_json: bool = False
    summary_only: bool = False
    quiet: bool = False
    advice: bool = False
    read_file: str = ""
    filter_event: str = ""
    output_file: str = ""
    output_file_max_bytes: int = 0
    output_file_max_age_s: float = 0
    output_file_max_backups: int = 0
    output_file_compress: bool = False
    timestamp: Timestamp = Timestamp.NONE
    journey_timeout_s: float = 2.0
    journey_count: int = 0
    journey_paths: bool = False
    journey_map: bool = False
    journey_times: bool = False
    tracepkt: bool = False
    explain_empty: bool = False
    report_interval_s: float = 2.0
    report_count: int = 0
    prometheus: tuple[str, int] | None = None
    list_funcs: bool = False
    dump_filter: bool = False
    explain: str = ""
    completion: Shell | None = None
    man: bool = False
    command: tuple[str, ...] = ()
    ready_file: str = ""
    debug: bool = False

    def __post_init__(self) -> None:
        alone = (self.list_funcs, self.dump_filter, self.explain, self.completion, self.man)
        if sum(map(bool, alone)) > 1:
            raise UsageError(
                "`dump_filter`, `list_funcs`, `explain`, `completion` and `man` each print their "
                "own: give one"
            )
        if self.rotates and not self.output_file:
            raise UsageError(
                "`output_file_max_bytes` and its like rotate a file: give `output_file`"
            )
        if self.filter_event and not self.read_file:
            raise UsageError("`filter_event` selects from a saved trace: give `read_file`")
        if self.config.track_entries != TRACK_ENTRIES and not self.config.follows:
            raise UsageError(
                "`track_entries` packets are followed at once: give `filter_track_skb`"
            )
        if self.journey_timeout_s != 2.0 and not self.config.journey:
            raise UsageError("`journey_timeout_s` ends a journey: give `journey`")
        if self.config.journey and (
            self.summary_only or self.output_stack or self.output_packet_id
        ):
            raise UsageError(
                "a `journey` has lines of its own: leave `summary_only`, `output_stack` and "
                "`output_packet_id` out"
            )
        if self.tracepkt and (not self.config.journey or self.journey_paths or self.output_json):
            raise UsageError("`tracepkt` is a form of `journey`: give that, and no other form")
        if self.tracepkt and (self.journey_count or self.timestamp is not Timestamp.NONE):
            raise UsageError("`tracepkt` has a line a hop, without time: leave -c, `timestamp` out")
        if self.journey_paths and (self.journey_count or self.timestamp is not Timestamp.NONE):
            raise UsageError("with `top` a `journey` is counted: leave `timestamp` and -c out")
        of_journeys = (Timestamp.NONE, Timestamp.RELATIVE, Timestamp.ABSOLUTE)
        if self.config.journey and self.timestamp not in of_journeys:
            raise UsageError("times of a `journey` are relative or absolute")
        shown = self.journey_paths or (self.config.top and not self.summary_only)
        if self.quiet and (self.output_json or self.config.journey or shown):
            raise UsageError("`quiet` is for a line an event: leave it out")
        if (self.report_count or self.report_interval_s != 2.0) and not shown:
            raise UsageError("`report_interval_s` and `report_count` are of the reports of `top`")
        if self.prometheus and (self.report_count or self.output_json or self.summary_only):
            raise UsageError("`prometheus` is told counts alone: leave the other output out")
        if self.netns_names_max_length and not self.output_netns_names:
            raise UsageError("`netns_names_max_length` cuts names: give `output_netns_names`")
        if self.output_netns_names and not self.output_meta:
            raise UsageError(
                "names of namespaces are in the column NETNS: drop `output_meta`=false"
            )
        if self.output_tcp_flags and not self.output_tuple:
            raise UsageError("`output_tcp_flags` is shown in the tuple: drop `output_tuple`=false")

    @property
    def rotates(self) -> bool:
        """Whether the file is written in pieces."""
        return bool(
            self.output_file_max_bytes
            or self.output_file_max_age_s
            or self.output_file_max_backups
            or self.output_file_compress
        )
