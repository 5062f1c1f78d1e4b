# SPDX-License-Identifier: Apache-2.0
"""``-r``: a saved trace through every output, and what of it is selected."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pwru_py.facts.conntrack import CtState
from pwru_py.output import View, json_sink
from pwru_py.output.jsonl import json_line
from pwru_py.output.summary import json_losses, json_summary
from pwru_py.record.event import (
    Conntrack,
    Event,
    Losses,
    MapAccess,
    Owner,
    Returned,
    Step,
    Summary,
    Verdict,
)

from .output.samples import ARP, PING, STACK, TCP6, drop, event
from .test_cli import ROOT, Done, Run, kernel, run

__all__ = ["kernel", "run"]

EVENTS = [
    event(packet=1, func="ip_rcv", ifname="eth0", ifindex=2, netns=7, ts_ns=1000, mark=0x10),
    drop(packet=1, func="skb:kfree_skb", location=STACK[0], ifname="eth0", netns=7, ts_ns=3000),
    event(packet=2, func="ip_rcv", tuple=PING, comm="ping", pid=5, netns=8, ts_ns=4000, mark=0x21),
    event(packet=3, func="arp_rcv", tuple=ARP._replace(arp=1), netns=8, ts_ns=9000),
    event(packet=4, func="ip_local_out", tuple=TCP6, tcp_flags=2, ts_ns=9500),
]
SAID = Summary(events=9, packets=8, drops={"NETFILTER_DROP": 3}, silent={}, attached=5,
               losses=Losses(buffer_full=2, recursion=1))  # fmt: skip


def saved(events: Sequence[Event] = EVENTS, view: View = View()) -> list[str]:  # noqa: B008
    stream = io.StringIO()
    json_sink(stream, view).events(events)
    return [*stream.getvalue().splitlines(), json_line(json_summary(SAID)).rstrip()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(saved()) + "\n")
    return path


def shown(done: Done) -> list[dict[str, Any]]:
    assert done.status == 0, done.err
    records = [json.loads(line) for line in done.lines]
    return [record for record in records if record["type"] == "event"]


def test_json_is_written_as_it_was(run: Run, file: Path) -> None:
    view = View(stack=True, caller=True, cb=True, rules=True)
    lines = saved([one._replace(stack=STACK, caller=STACK[1], cb=(1, 2)) for one in EVENTS], view)
    file.write_text("\n".join(lines) + "\n")
    done = run("-r", str(file), "--output-json")
    assert done.status == 0
    assert [json.loads(line) for line in done.lines] == [json.loads(line) for line in lines]


def test_returns_owners_and_what_stands_beneath(run: Run, file: Path) -> None:
    view = View(returns=True, maps=True, owner=True, conntrack=True, nf_path=True)
    step = Step(Verdict("ip", "t", "", "INPUT", "ACCEPT", rule=7, step="rule"), "in", "accept")
    entry = EVENTS[0]._replace(
        bpf_map=MapAccess(3, "svc", 1, 1, b"\7", None), owner=Owner(7, "curl"), nf_path=(step,),
        conntrack=Conntrack(CtState.NEW),
    )  # fmt: skip
    lines = saved([entry, entry._replace(returned=Returned(0, "NULL", 1200))], view)
    file.write_text("\n".join(lines) + "\n")
    done = run("-r", str(file))
    assert {"OWNER", "CONNTRACK"} <= set(done.lines[0].split())
    assert "curl:7" in done.lines[1]
    assert done.out.count("map 3 svc: key 07") == done.out.count("chain in, rule 7: accept") == 2
    assert "= NULL  1.2 µs" in done.out
    assert "only events" not in done.err
    again = run("-r", str(file), "--output-json")
    assert [json.loads(line) for line in again.lines] == [json.loads(line) for line in lines]


def test_text_shows_what_the_trace_has(run: Run, file: Path) -> None:
    done = run("-r", str(file))
    assert done.lines[0].split()[-4:] == ["MTU", "LEN", "TUPLE", "FUNC"]
    for line, one in zip(done.lines[1:], EVENTS, strict=True):
        assert one.func in line.split()
    assert done.lines[2].endswith("skb:kfree_skb  NETFILTER_DROP at nf_hook_slow+0xab")
    # All is shown, so the account is the session's own.
    assert done.err_lines[:3] == ["8 packets, 9 events", "drops: 3", "  3  NETFILTER_DROP"]
    assert done.err.count("lost: 2 events, buffer full") == 1
    lines = saved([EVENTS[0]._replace(stack=STACK)], View(meta=False, stack=True))
    file.write_text("\n".join(lines) + "\n")
    done = run("-r", str(file), "--output-tuple=false")
    assert done.lines[0].split() == ["SKB", "CPU", "PROCESS", "FUNC"]
    assert done.lines[2].strip() == "nf_hook_slow+0xab"


@pytest.mark.parametrize(
    ("arguments", "packets"),
    [
        ((), [1, 1, 2, 3, 4]),
        (("--filter-func", "ip_.*"), [1, 2, 4]),
        (("--filter-func", "ip_"), []),
        (("--filter-func", "@udp"), []),
        (("--filter-netns", "inode:8"), [2, 3]),
        (("--filter-netns", "7"), [1, 1]),
        (("--filter-netns", "web"), []),
        (("-i", "eth0"), [1, 1]),
        (("-i", "any"), [1, 1, 2, 3, 4]),
        (("-i", "eth"), []),
        (("--filter-mark", "0x20/0xf0"), [2]),
        (("--filter-mark", "0x10"), [1]),
        (("--drops",), [1]),
        (("-c", "2"), [1, 1]),
        (("-c", "1", "icmp"), [2]),
        (("icmp",), [2]),
        (("arp", "or", "ip6"), [3, 4]),
        (("tcp[tcpflags] & tcp-syn != 0 and dst port 80",), [1, 1]),
        (("tcp dst port 80",), [1, 1, 4]),
        (("tcp[tcpflags] & tcp-ack != 0",), [1, 1]),
        (("host 10.0.0.1",), [3]),
        (("udp",), []),
        (("--filter-event", "comm == 'ping' and pid == 5"), [2]),
        (("--filter-event", "drop or tuple.daddr == 2001:db8::/32"), [1, 4]),
        (("--filter-event", "len > 100"), []),
        (("--filter-event", "netns == 8", "--filter-func", "arp.*", "arp"), [3]),
    ],
)
def test_what_is_selected(
    run: Run, file: Path, arguments: tuple[str, ...], packets: list[int]
) -> None:
    done = run("-r", str(file), "--output-json", "--timestamp", "current", *arguments)
    assert [record["packet"] for record in shown(done)] == packets
    summary = json.loads(done.lines[-1])
    if arguments and arguments != ("-i", "any"):
        assert (summary["events"], summary["packets"]) == (len(packets), len(set(packets)))


def test_drops_with_what_they_mean(run: Run, file: Path) -> None:
    done = run("-r", str(file), "--drops")
    assert done.status == 0
    assert done.lines[0].split()[-2:] == ["TUPLE", "DROP"]
    assert len(done.lines) == 2
    assert done.err_lines[:3] == ["1 packet, 1 event", "drops: 1", "  1  NETFILTER_DROP"]
    assert "1  NETFILTER_DROP at nf_hook_slow" in done.err_lines
    alone = run("-r", str(file), "--drops", "--summary-only")
    assert (alone.status, alone.out, alone.err) == (0, "", done.err)


def test_times_are_the_events_own(run: Run, file: Path) -> None:
    done = run("-r", str(file), "-qttt")
    assert [line.split()[0] for line in done.lines[1:]] == ["0", "2000", "1000", "5000", "500"]


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_packed_and_from_a_pipe(file: Path, pack: Any) -> None:
    """Without root, and without a kernel that traces."""
    content = pack(file.read_bytes() * 300)
    command = [sys.executable, "-m", "pwru_py", "-r", "-", "-q", "icmp"]
    done = subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=False,
                          user=65534 if os.geteuid() == 0 else None)  # fmt: skip
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 301), done.stderr


def test_lines_come_through_as_they_come(file: Path) -> None:
    command = [sys.executable, "-m", "pwru_py", "-r", "-", "--output-json", "-c", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        for line in saved()[:2]:
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["type"] == "event"
        assert json.loads(process.stdout.readline())["type"] == "summary"
    assert process.wait(30) == 0


# What is wrong with a file


@pytest.mark.parametrize(
    ("content", "text", "events"),
    [
        (b"\n".join(map(str.encode, saved()[:2])), "ends in the midst of line 2", 1),
        (saved()[0].encode() + b"\nnonsense\n", "line 2: it is none that --output-json writes", 1),
        (b"[]\n", "line 1: it is none that --output-json writes", 0),
        (b"[" * 100000 + b"\n", "line 1: it is none that --output-json writes", 0),
        (b"\xff\xfe\n", "line 1: it is none that --output-json writes", 0),
        (saved()[0].encode() + b'\n{"type":"event"}\n', "line 2: 'drop_reason_code'", 1),
        (b'{"type":"lost"}\n', "line 1: 'buffer_full' is missing", 0),
        (b'{"type":"summary"}\n', "line 1: 'losses' is missing", 0),
        (b"x" * (5 << 20), "line 1 is too long", 0),
        (gzip.compress("\n".join(saved() * 200).encode())[:-20], "compressed file ended", None),
        (b"\x1f\x8b\x08\x00nonsense and more of it", "cannot read", 0),
    ],
    ids=itertools.count(),
)
def test_what_is_no_trace(
    run: Run, file: Path, content: bytes, text: str, events: int | None
) -> None:
    """What came before it is shown, and counted; then one line tells, and the status is 1."""
    file.write_bytes(content)
    done = run("-r", str(file), "--output-json")
    assert done.status == 1
    assert done.err_lines[-1].startswith("pwru-py: ")
    assert "Traceback" not in done.err
    kinds = [json.loads(line)["type"] for line in done.lines]
    assert kinds[-1:] == ["summary"]
    if events is not None:
        assert kinds.count("event") == events


def test_a_trace_without_its_end(run: Run, file: Path) -> None:
    """As a session leaves it that was killed."""
    lost = json.dumps(json_losses(Losses(buffer_full=7, recursion=0)))
    file.write_text("\n".join([*saved()[:2], lost]) + "\n")
    done = run("-r", str(file))
    assert done.status == 0
    assert "lost: 7 events, buffer full" in done.err
    assert done.err_lines[-1] == (
        "pwru-py: the trace has no summary: what was lost is told up to its last line"
    )
    assert done.err_lines[1:4] == ["1 packet, 2 events", "drops: 1", "  1  NETFILTER_DROP"]


def test_lines_that_are_no_events(run: Run, file: Path) -> None:
    file.write_text('{"type":"journey"}\n{"type":"paths"}\n')
    done = run("-r", str(file))
    assert done.status == 0
    assert "only events and returns are read again, no lines of type 'journey', 'paths'" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ("-r /nowhere/t", 1, "cannot read '/nowhere/t': no such file or directory"),
        ("-r /etc", 1, "cannot read '/etc': is a directory"),
        ("-r {} --journey", 2, "--journey is nothing that a saved trace has: leave it out with -r"),
        ("-r {} --advice --drops", 2, "--advice is nothing that a saved trace has"),
        ("-r {} --drops --top", 2, "--top is nothing"),
        ("-r {} --exec true", 2, "--exec is nothing"),
        ("-r {} --filter-skb-expr skb->len", 2, "--filter-skb-expr is nothing"),
        ("-r {} --output-stack", 2, "--output-stack is nothing"),
        ("-r {} --filter-netns /proc/1/ns/net", 2, "which namespace '/proc/1/ns/net' was"),
        ("-r {} ip[8]<5", 2, "a saved trace cannot tell what 'ip[8]<5' asks"),
        ("-r {} vlan", 2, "a saved trace cannot tell what 'vlan' asks"),
        ("-r {} tcpp", 2, "can't parse filter expression: syntax error"),
        ("-r {} --filter-event zzz", 2, "an event has no key 'zzz'"),
        ("--filter-event len", 2, "--filter-event selects from a saved trace: give -r"),
        ("-r {} -w {}", 1, "the trace that is read would be written over: choose another file"),
    ],
)
def test_what_is_refused(run: Run, file: Path, arguments: str, status: int, text: str) -> None:
    before = file.read_bytes()
    done = run(*arguments.replace("{}", str(file)).split(" "))
    assert (done.status, len(done.err_lines)) == (status, 1), done.err
    assert text in done.err
    assert file.read_bytes() == before


def test_into_a_file_in_pieces(run: Run, file: Path, tmp_path: Path) -> None:
    file.write_text("\n".join(saved(EVENTS * 40)) + "\n")
    out = tmp_path / "out.jsonl"
    done = run("-r", str(file), "--output-json", "-w", str(out), "--output-file-max-size", "9K")
    assert (done.status, done.out) == (0, "")
    pieces = [*sorted(tmp_path.glob("out-*.jsonl")), out]
    assert len(pieces) > 5
    assert b"".join(map(Path.read_bytes, pieces)) == file.read_bytes()
