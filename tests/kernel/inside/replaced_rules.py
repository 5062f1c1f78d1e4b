# SPDX-License-Identifier: Apache-2.0
"""Rule sets that are replaced while packets drop: nf_tables and iptables in turn, in one namespace.

``send PACKETS LOG``: makes generation 0 of both, sends, and puts the next ones in place meanwhile.
``check LOG TRACE``: which drops of the trace have a rule, and whether it is right: of the packet's
port, and of a generation that was there at that moment. Each rule's comment says whose it is; the
last rule of odd generations drops, of even ones the policy does.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from typing import Any

GENERATIONS = 10
FIRST, LAST = 7200, 7217
NFT_END, XT_END = 7207, 7217
"""Ports for which no rule is but the last one."""
XT_FIRST = 7210
_NUMBER, _SHARED = struct.Struct("=I"), struct.Struct("=II")
"""Which generation is wanted, which is there."""
_PAUSE_S = 4.0
_SEED = 4


def nft_rules(generation: int) -> str:
    """One transaction. Odd ones keep the table, so its handle; even ones make it again."""
    said = f'comment "g{generation}"'
    rules = [
        f"udp dport 7200 drop {said}",
        f"udp dport {{ 7201, 7299 }} drop {said}",
        f"udp dport 7202 jump deny {said}",
        f"udp dport 7203 goto deny {said}",
        f"udp dport vmap {{ 7204 : drop, 7298 : accept }} {said}",
        # Where a rule rejects, a policy is not certain.
        f"udp dport 7205 {'reject' if generation % 2 else 'drop'} {said}",
        f"meta l4proto udp @th,16,16 7206 counter drop {said}",
    ]
    random.Random(_SEED + generation).shuffle(rules)
    end = [f"udp dport {NFT_END} drop {said}"] if generation % 2 else []
    odd = generation % 2
    lines = [
        *(["flush table inet w"] if odd else ["add table inet w", "delete table inet w"]),
        "add table inet w",
        "add chain inet w deny",
        f"add rule inet w deny udp dport 7202-7203 drop {said}",
        "add chain inet w in { type filter hook input priority -5; policy drop; }",
        *(f"add rule inet w in {rule}" for rule in (*rules, *end)),
        f"add rule inet w in udp dport != {NFT_END} accept",
        "add rule inet w in meta l4proto != udp accept",
    ]
    return "\n".join(lines) + "\n"


def xt_rules(generation: int) -> str:
    """For iptables-restore, which puts a table's rules in place at once."""
    said = f"-m comment --comment g{generation}"
    rules = [
        f"--dport 7210 {said} -j DROP",
        f"-m multiport --dports 7211,7299 {said} -j DROP",
        f"--dport 7212 {said} -j DENY",
        f"--dport 7213 {said} -g DENY",
        f"--dport 7214 {said} -j REJECT",
        f"--dport 7215 {said} -m limit --limit 1/hour -j ACCEPT",
        f"--dport 7215 {said} -j DROP",
        f"--dport 7216 {said} -j DEEP",
    ]
    random.Random(_SEED + generation).shuffle(rules)
    if generation % 2:
        rules.append(f"--dport {XT_END} {said} -j DROP")
    lines = [
        "*filter", ":INPUT DROP [0:0]", ":DENY - [0:0]", ":DEEP - [0:0]",
        f"-A DENY -p udp --dport 7212:7216 {said} -j DROP", "-A DEEP -j DENY",
        "-A INPUT ! -p udp -j ACCEPT",
        *(f"-A INPUT -p udp {rule}" for rule in rules),
        f"-A INPUT -p udp ! --dport {XT_END} -j ACCEPT", "COMMIT",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _put(generation: int) -> list[list[int]]:
    """When each of the two began to be put in place, and when it was; nanoseconds."""
    times = []
    for command, rules in (
        (["nft", "-f", "-"], nft_rules(generation)),
        (["iptables-legacy-restore"], xt_rules(generation)),
    ):
        begun = time.monotonic_ns()
        subprocess.run(command, input=rules.encode(), check=True)
        times.append([begun, time.monotonic_ns()])
    return times


def send(packets: int, log: str) -> None:
    """The next generation comes while packets of the one before are sent."""
    times = [_put(0)]
    shared = mmap.mmap(-1, _SHARED.size)
    child = os.fork()
    if not child:
        _send(packets // (GENERATIONS + 1), shared)
        os._exit(0)
    for generation in range(1, GENERATIONS + 1):
        while _SHARED.unpack(shared[:])[0] < generation:
            time.sleep(0.01)
        times.append(_put(generation))
        shared[_SHARED.size // 2 :] = _NUMBER.pack(generation)
    assert os.waitpid(child, 0)[1] == 0
    with open(log, "w") as file:
        json.dump(times, file)


def _send(packets: int, shared: mmap.mmap) -> None:
    """So many of each generation, and a pause in which the tracer can list it."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ports = range(FIRST, LAST + 1)
    for generation in range(GENERATIONS + 1):
        while _SHARED.unpack(shared[:])[1] < generation:
            time.sleep(0.01)
        for number in range(packets):
            if number == len(ports):
                time.sleep(_PAUSE_S)
            elif number == packets // 2:
                shared[: _SHARED.size // 2] = _NUMBER.pack(generation + 1)
            with contextlib.suppress(ConnectionRefusedError):  # what a REJECT has sent
                sender.sendto(b"x", ("127.0.0.1", ports[number % len(ports)]))


def check(log: str, trace: str) -> dict[str, Any]:
    """Counts of what is told, and the first that are wrong."""
    with open(log) as file:
        times = json.load(file)
    counts: Counter[str] = Counter()
    wrong: list[object] = []
    with open(trace) as lines:
        for line in lines:
            event = json.loads(line)
            if event["type"] != "event":
                continue
            kind, right = _judge(event, times)
            counts[kind] += 1
            if not right and len(wrong) < 5:
                wrong.append([kind, event["ts_ns"], event["tuple"]["dport"], event["verdict"]])
            counts["wrong"] += not right
    return {"counts": counts, "wrong": wrong, "times": times if wrong else None}


def _judge(event: dict[str, Any], times: list[list[list[int]]]) -> tuple[str, bool]:
    """What is told of a drop, and whether that can be right."""
    port, said = event["tuple"]["dport"], event["verdict"]
    if said is None:
        return f"{port} {event['drop_reason']}", True
    which = int(port >= XT_FIRST)
    tool = ("nft", "iptables")[which]
    if (said["family"], said["table"]) != (("inet", "w"), ("", "filter"))[which]:
        return f"{tool} table", False
    there = [
        generation
        for generation in range(len(times))
        if times[generation][which][0] <= event["ts_ns"]
        and (generation + 1 == len(times) or event["ts_ns"] <= times[generation + 1][which][1])
    ]
    end = port in (NFT_END, XT_END)
    if said["by_policy"]:
        return f"{tool} policy", end and any(not generation % 2 for generation in there)
    text = said["rule_text"]
    if text is None:
        return f"{tool} gone" if said["rule"] else f"{tool} unknown", True
    named = re.search(r'comment "?g([0-9]+)', text)
    if named is None or int(named[1]) not in there:
        return f"{tool} rule", False
    return f"{tool} rule", (not end or int(named[1]) % 2 == 1) and _has(text, port)


def _has(text: str, port: int) -> bool:
    numbers = [int(number) for number in re.findall(r"\b7[0-9]{3}\b", text)]
    spans = re.findall(r"\b(7[0-9]{3})[-:](7[0-9]{3})\b", text)
    return port in numbers or any(int(low) <= port <= int(high) for low, high in spans)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(int(sys.argv[2]), sys.argv[3])
    else:
        print(json.dumps(check(*sys.argv[2:])))
