# SPDX-License-Identifier: Apache-2.0
"""``-r`` on what a session has written on this kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.native.net import B, Net

EVERYTHING = (
    "--output-stack", "--output-caller", "--output-tunnel", "--output-skb", "--output-skb-cb",
    "--output-skb-shared-info", "--output-netns-names", "--output-skb-metadata",
    "skb->mark,skb->dev->name",
)  # fmt: skip
SEND = "import socket; socket.socket(2, 2).sendto(b'x', ('10.77.2.2', 4107))"


def replay(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pwru_py", "-r", str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def test_what_was_written_is_read(net: Net, tmp_path: Path) -> None:
    """All that an event can have, once more as JSON; and some of it by its fields."""
    with net.trace(*EVERYTHING, "icmp or udp port 4107 or arp") as traces:
        net.run("a", f"ping -c2 -i0.2 -W5 {B}")
        net.python("a", SEND)
    (trace,) = traces
    file = tmp_path / "t.jsonl"
    file.write_text(trace.stdout)
    assert [json.loads(line) for line in replay(file, "--output-json").stdout.splitlines()] == [
        record for record in trace.records if record["type"] != "lost"
    ]
    wanted = [
        event
        for event in trace.events
        if event["tuple"]["proto"] == 17 and event["netns"] == net.inode("b") and event["drop"]
    ]
    assert wanted
    arguments = ("--output-json", "--drops", "--filter-netns", f"inode:{net.inode('b')}", "udp")
    shown = [json.loads(line) for line in replay(file, *arguments).stdout.splitlines()]
    assert [one["ts_ns"] for one in shown[:-1]] == [event["ts_ns"] for event in wanted]
    assert shown[-1]["drops"] == {"NO_SOCKET": 1}


def test_text_is_what_the_session_showed(net: Net, tmp_path: Path) -> None:
    """The lines of two sessions at once: one as text, one as JSON, read again."""
    text = ["--backend", "tracepoint", "--output-stack", "-t", f"icmp and host {B}"]
    with net.tracing(*text) as plain, net.trace("--output-stack", text[-1]) as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    file = tmp_path / "t.jsonl"
    file.write_text(traces[0].stdout)
    shown = replay(file).stdout.splitlines()
    sent = plain[0].stdout.splitlines()
    assert len(sent) > 50
    assert [*map(str.split, shown)] == [*map(str.split, sent)]
