# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from pwru_py.errors import UsageError
from pwru_py.facts.conntrack import CtState
from pwru_py.options.config import Backend, Config, Mark, Timestamp, Transport
from pwru_py.options.flags import BY_NAME, FLAGS, Options, spell
from pwru_py.options.parse import HelpRequested, VersionRequested, parse


def options(line: str) -> Options:
    return parse(shlex.split(line))


def changed(line: str) -> dict[str, Any]:
    """What differs from the defaults, the config's fields beside the others."""
    found, default = asdict(options(line)), asdict(Options(Config()))
    found |= found.pop("config")
    default |= default.pop("config")
    return {name: value for name, value in found.items() if value != default[name]}


def error(line: str) -> str:
    with pytest.raises(UsageError) as raised:
        options(line)
    text = spell(str(raised.value))
    assert "\n" not in text
    return text


def test_nothing_means_the_defaults() -> None:
    assert parse([]) == Options(Config())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tcp", {"filter": "tcp"}),
        ("'dst host 1.1.1.1 and tcp'", {"filter": "dst host 1.1.1.1 and tcp"}),
        (
            "tcp port 80 --output-stack and host 1.1.1.1",
            {"filter": "tcp port 80 and host 1.1.1.1", "output_stack": True},
        ),
        ("--output-stack tcp", {"filter": "tcp", "output_stack": True}),
        ("-c 5 tcp -i eth0", {"filter": "tcp", "limit_events": 5, "filter_ifname": "eth0"}),
        ("-c5 -i=eth0", {"limit_events": 5, "filter_ifname": "eth0"}),
        ("-ieth0 -c=5", {"limit_events": 5, "filter_ifname": "eth0"}),
        ("tcp[0] -1 = 5", {"filter": "tcp[0] -1 = 5"}),
        ("ip -d -- -1 != --debug", {"filter": "ip -1 != --debug", "dump_filter": True}),
        ("'ip[0] - 1 = 0x44'", {"filter": "ip[0] - 1 = 0x44"}),
        ("ip[0] - 1 = 0x44", {"filter": "ip[0] - 1 = 0x44"}),
        ("' '", {}),
        ("--filter-func 'ip.*|tcp_.*'", {"filter_func": "ip.*|tcp_.*"}),
        ("--filter-func=a=b", {"filter_func": "a=b"}),
        ("--filter-func '@core|ip_.*'", {"filter_func": "@core|ip_.*"}),
        ("--filter-func a --filter-func b", {"filter_func": "b"}),
        ("--filter-netns inode:4026531840", {"filter_netns": "inode:4026531840"}),
        ("--filter-ifname eth0", {"filter_ifname": "eth0"}),
        ("--filter-mark 0xa/0xf", {"filter_mark": asdict(Mark(10, 15))}),
        ("--filter-mark 0", {"filter_mark": asdict(Mark(0))}),
        ("--filter-ct-mark 7/0xf", {"filter_ct_mark": asdict(Mark(7, 15))}),
        (
            "--filter-ct-state NEW,new,Dnat --filter-ct-state invalid",
            {"filter_ct_state": (CtState.NEW, CtState.NEW, CtState.DNAT, CtState.INVALID)},
        ),
        ("--output-conntrack", {"output_conntrack": True}),
        ("--filter-track-skb", {"filter_track_skb": True}),
        ("--kmods nf_nat,veth --kmods=bridge,veth", {"kmods": ("nf_nat", "veth", "bridge")}),
        ("--all-kmods", {"all_kmods": True}),
        ("--kernel-btf /tmp/vmlinux", {"kernel_btf": "/tmp/vmlinux"}),
        ("--backend kprobe-multi", {"backend": Backend.KPROBE_MULTI}),
        ("--backend fentry-multi", {"backend": Backend.FENTRY_MULTI}),
        ("--transport queue", {"transport": Transport.QUEUE}),
        ("--output-meta=false", {"output_meta": False}),
        ("--output-meta=0 --output-meta", {}),
        ("--output-tuple=F tcp", {"output_tuple": False, "filter": "tcp"}),
        ("--output-json=true --output-stack=TRUE", {"output_json": True, "output_stack": True}),
        ("--output-json false", {"output_json": True, "filter": "false"}),
        ("--output-tcp-flags", {"output_tcp_flags": True}),
        (
            "--output-netns-names --netns-names-max-length 9",
            {"output_netns_names": True, "netns_names_max_length": 9},
        ),
        (
            "--filter-track-skb --track-size 9",
            {"filter_track_skb": True, "track_entries": 9},
        ),
        (
            "--journey --track-size 0100 tcp",
            {"journey": True, "track_entries": 100, "filter": "tcp"},
        ),
        ("-w out.txt", {"output_file": "out.txt"}),
        ("-w -", {}),
        ("--output-limit-lines 010", {"limit_events": 10}),
        ("--timestamp absolute", {"timestamp": Timestamp.ABSOLUTE}),
        ("-t", {}),
        ("-tt", {"timestamp": Timestamp.EPOCH}),
        ("-ttt", {"timestamp": Timestamp.DELTA}),
        ("-t -t -tt tcp", {"timestamp": Timestamp.ABSOLUTE, "filter": "tcp"}),
        ("-ttttt", {"timestamp": Timestamp.ELAPSED}),
        ("--drops", {"drops": True, "timestamp": Timestamp.ABSOLUTE}),
        ("--drops -t", {"drops": True}),
        ("--drops --timestamp none", {"drops": True}),
        ("-n -q", {"quiet": True}),
        ("-nn -i any", {}),
        ("-nnqi eth0", {"quiet": True, "filter_ifname": "eth0"}),
        (
            "-nqc5 -tttti=eth1 udp",
            {
                "quiet": True,
                "limit_events": 5,
                "filter_ifname": "eth1",
                "filter": "udp",
                "timestamp": Timestamp.ABSOLUTE,
            },
        ),
        ("--list-funcs --debug", {"list_funcs": True, "debug": True}),
        ("--ready-file /tmp/ready", {"ready_file": "/tmp/ready"}),
    ],
)
def test_what_is_understood(line: str, expected: dict[str, Any]) -> None:
    assert changed(line) == expected


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [
        ("1", 1 << 20),
        ("3", 4 << 20),
        ("64M", 64 << 20),
        ("64mib", 64 << 20),
        ("5K", 8 << 10),
        ("1k", 4 << 10),
        ("1G", 1 << 30),
        ("2048", 1 << 31),
    ],
)
def test_buffer_size_is_rounded_up_to_a_power_of_two(size: str, size_bytes: int) -> None:
    assert options(f"--buffer-size {size}").config.buffer_bytes == size_bytes


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "--filter-fnc x",
            "unknown flag --filter-fnc: did you mean --filter-func? (see --help)",
        ),
        (
            "--output-stac=1",
            "unknown flag --output-stac: did you mean --output-stack? (see --help)",
        ),
        (
            "--output-sta tcp",
            "unknown flag --output-sta: did you mean --output-stack? (see --help)",
        ),
        ("--zzzzzz", "unknown flag --zzzzzz (see --help)"),
        ("tcp -x", "unknown flag -x (see --help)"),
        ("-help", "unknown flag -help: did you mean --help? (see --help)"),
        ("-debug", "unknown flag -debug: did you mean --debug? (see --help)"),
        ("-output-json=1", "unknown flag -output-json: did you mean --output-json? (see --help)"),
        ("--zz\udcff", "unknown flag --zz\\xff (see --help)"),
        (
            "--backend \udcff",
            "--backend: unknown word '\\xff': give one of auto, kprobe, kprobe-multi, "
            "fentry-multi, tracepoint",
        ),
        ("-d=x", "-d: 'x' is not a truth value: give true or false"),
        ("--$'a\nb'", "unknown flag --$a\\x0ab (see --help)"),
        ("--filter-func", "--filter-func: expected one value (see --help)"),
        ("--filter-func --debug", "--filter-func: expected one value (see --help)"),
        ("-c", "--output-limit-lines: expected one value (see --help)"),
        ("--filter-func=", "--filter-func: the value is empty (see --help)"),
        ("-i ''", "--filter-ifname: the value is empty (see --help)"),
        (
            "--filter-func 'ip_rcv|@croe'",
            "--filter-func: there is no set '@croe': did you mean @core? "
            "(sets: @core, @journey, @drops, @netfilter, @tcp, @udp)",
        ),
        (
            "--filter-func 'tcp(v4'",
            "--filter-func: cannot read 'tcp(v4': missing ), unterminated subpattern at position 3",
        ),
        ("--kmods a,,b", "--kmods: a name is empty: give names separated by commas"),
        (
            "--backend fentry",
            "--backend: unknown word 'fentry': give one of auto, kprobe, kprobe-multi, "
            "fentry-multi, tracepoint",
        ),
        (
            "--transport perf",
            "--transport: unknown word 'perf': give one of auto, ring, queue",
        ),
        (
            "--timestamp iso",
            "--timestamp: unknown word 'iso': give one of none, current, relative, absolute, "
            "epoch, delta, elapsed",
        ),
        ("-c 0", "--output-limit-lines: '0' is not a number of lines from 1 up"),
        ("-c=-3", "--output-limit-lines: '-3' is not a number of lines from 1 up"),
        ("-c ten", "--output-limit-lines: 'ten' is not a number of lines from 1 up"),
        (
            "--output-json=maybe",
            "--output-json: 'maybe' is not a truth value: give true or false",
        ),
        ("-tttttt", "-t: give it from 1 to 5 times, not 6"),
        ("-nx", "unknown flag -nx (see --help)"),
        ("-q --output-json", "-q is for a line an event: leave it out"),
        ("--journey -q", "-q is for a line an event: leave it out"),
        ("--journey -tt", "times of a --journey are relative or absolute"),
        ("-F /nowhere/f", "cannot read the filter in '/nowhere/f': no such file or directory"),
        ("-F /etc", "cannot read the filter in '/etc': is a directory"),
        ("-F /dev/zero", "cannot read the filter in '/dev/zero': it is longer than 1 MiB"),
        (
            "-F /dev/null tcp",
            "-F FILE has the filter: leave its words out, or write them there",
        ),
        (
            "-d --list-funcs",
            "-d, --list-funcs, --explain, --completion and --man each print their own: give one",
        ),
        (
            "--output-tuple=false --output-tcp-flags",
            "--output-tcp-flags is shown in the tuple: drop --output-tuple=false",
        ),
        (
            "--track-size 9",
            "--track-size packets are followed at once: give --filter-track-skb",
        ),
        (
            "--filter-track-skb --track-size 0",
            "--track-size: '0' is not a number of packets from 1 up",
        ),
        (
            "--filter-track-skb --track-size 99999999",
            "the number of followed packets must be from 1 to 16777216",
        ),
        (
            "--netns-names-max-length 9",
            "--netns-names-max-length cuts names: give --output-netns-names",
        ),
        (
            "--output-netns-names --output-meta=false",
            "names of namespaces are in the column NETNS: drop --output-meta=false",
        ),
        (
            "--filter-ct-state NEW,stale",
            "--filter-ct-state: unknown word 'stale': give one of none, new, established, "
            "related, invalid, untracked, template, snat, dnat",
        ),
        (
            "--filter-mark red",
            "--filter-mark: cannot read mark 'red': give MARK or MARK/MASK, "
            "decimal or 0x hexadecimal",
        ),
    ],
)
def test_what_is_refused(line: str, text: str) -> None:
    assert error(line) == text


def test_a_filter_from_a_file(tmp_path: Path) -> None:
    """As tcpdump reads it: a comment goes from # to the end of its line."""
    file = tmp_path / "filter"
    file.write_text("# all of it\ntcp port 80 # the web\n  and host 1.1.1.1\n\n#end")
    assert changed(f"-F {file}") == {"filter": "tcp port 80 and host 1.1.1.1"}
    file.write_bytes(b"host caf\xe9")
    assert options(f"-F {file}").config.filter == "host caf\udce9"
    file.write_bytes(b"tcp\0")
    assert "zero byte" in error(f"-F {file}")
    file.write_text("#\n")
    assert changed(f"-F {file}") == {}


@pytest.mark.parametrize("size", ["0", "-1", "3G", "1.5", "4T", "99999999999", "M"])
def test_impossible_buffer_sizes(size: str) -> None:
    assert f"--buffer-size: '{size}' is not a size from 4K to 2G" in error(f"--buffer-size={size}")


def test_a_pattern_too_big_for_python_is_one_line_too() -> None:
    assert "--filter-func: cannot read" in error("--filter-func 'a{99999999999}'")


def test_a_pattern_that_python_warns_about_prints_nothing(
    recwarn: pytest.WarningsRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    options("--filter-func '[[a]b'")
    assert not recwarn.list
    assert capsys.readouterr() == ("", "")


def test_flags_of_pwru_that_change_nothing_are_taken() -> None:
    assert options("--filter-kprobe-batch 10 --set-percpu-buf=4096 tcp") == options("tcp")
    assert "functions" in error("--filter-kprobe-batch 0")


@pytest.mark.parametrize("line", ["-h", "tcp --help", "--help --unknown", "--version -h"])
def test_help_wins(line: str) -> None:
    with pytest.raises(HelpRequested, match="usage: pwru-py"):
        options(line)


def test_help_fits_80_columns_and_names_every_flag_on_a_line_of_its_own() -> None:
    with pytest.raises(HelpRequested) as raised:
        options("--help")
    lines = str(raised.value).splitlines()
    assert max(map(len, lines)) <= 80
    for name in BY_NAME:
        own = [ln for ln in lines if ln.startswith("  -") and name in ln.replace(",", "").split()]
        assert len(own) == 1, name
        assert len(own[0].split("  ")) >= 3, f"{name}: its help is not on the same line"
    assert "(command:pid)" in str(raised.value)


def test_version() -> None:
    with pytest.raises(VersionRequested, match=r"^pwru-py 0\.1\.0$"):
        options("--version")


def test_the_filters_spelling_of_flags_in_config_and_options_agree() -> None:
    found = options("--output-tuple=false --output-stack")
    assert (found.output_tuple, found.config.output_tuple) == (False, False)
    assert (found.output_stack, found.config.output_stack) == (True, True)


def test_every_flag_has_a_field_to_go_to() -> None:
    known = {column.name for kind in (Config, Options) for column in fields(kind)}
    assert {flag.target for flag in FLAGS} - known == {
        *("help", "version"),
        "filter_file",  # parse() reads it
        *("numeric", "kprobe_batch", "percpu_buffer"),  # they change nothing
    }


def test_the_library_speaks_of_fields_and_the_command_of_flags() -> None:
    assert spell("use `transport`=queue: see `plan`") == "use --transport=queue: see --list-funcs"
    assert spell("a `name` of no flag") == "a name of no flag"


def test_importing_is_light() -> None:
    code = "import sys; import pwru_py.options; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pwru_py.options"} <= set(done.stdout.split())
    assert not {"rich", "json", "ctypes", "difflib", "pcapy"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("argv", "values"),
    [
        (["skb->mark,skb->dev->name"], ("skb->mark", "skb->dev->name")),
        ([" skb->mark , skb->len "], ("skb->mark", "skb->len")),
        (['skb->cb == "a,b",skb->len'], ('skb->cb == "a,b"', "skb->len")),
        (["skb->mark", "skb->len,skb->mark"], ("skb->mark", "skb->len")),
    ],
)
def test_field_expressions_stand_between_commas(argv: list[str], values: tuple[str, ...]) -> None:
    given = [word for text in argv for word in ("--output-skb-metadata", text)]
    assert parse([*given, "icmp"]).config.output_skb_metadata == values


@pytest.mark.parametrize("text", [",", "skb->mark,", ",skb->mark", "skb->mark,,skb->len"])
def test_no_field_expression_is_empty(text: str) -> None:
    with pytest.raises(UsageError, match="an expression is empty"):
        parse(["--output-skb-metadata", text])
