# SPDX-License-Identifier: Apache-2.0
"""Hard use: kills, floods, strange names, a library's users, hours of load.

In small with the other tests; at length with ``make soak`` (``PWRU_SOAK`` set).
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass

import pytest

from tests.kernel.lab import FEW_FUNCTIONS, Lab

pytestmark = pytest.mark.representative("6.1", "newest")

SOAK = bool(os.environ.get("PWRU_SOAK"))
KILLS = 80 if SOAK else 2
FLOOD_PACKETS = 50_000 if SOAK else 3_000
LOAD_S = 3600 if SOAK else 4
DETACHED_S = 60  # the kernel detaches as it buries the process, slowly on a busy machine
SEED = int(os.environ.get("PWRU_SEED", "0")) or random.randrange(1 << 32)


@pytest.mark.representative("6.12")
def test_kills_at_random_moments_leave_nothing_attached(lab: Lab) -> None:
    moments = random.Random(SEED)
    assert lab.armed_probes() == [], "of an earlier test"
    for kill in range(KILLS):
        tracing = lab.start("--filter-func", FEW_FUNCTIONS, "--filter-track-skb", "icmp")
        delay = moments.uniform(0, 4)
        lab.run(f"sleep {delay:.3f}; timeout 5 ip netns exec a ping -c1 -W1 10.1.0.2")
        tracing.process.signal(signal.SIGKILL)
        tracing.process.wait(20)
        deadline = time.monotonic() + DETACHED_S
        while (left := lab.armed_probes()) and time.monotonic() < deadline:
            lab.run("sleep 0.1")
        assert left == [], f"kill {kill} after {delay:.3f} s, seed {SEED}"


@dataclass(frozen=True)
class Flood:
    """Packets from a to b, and the counter of b's kernel that counts runs of one function.

    ``send``: the body of a loop in Python, ``n`` its number. ``setup``: made in b first, and
    undone by ``undo``.
    """

    function: str
    expression: str
    counters: str
    send: str
    prepare: str = ""
    setup: str = ""
    undo: str = ""
    arguments: tuple[str, ...] = ()


UDP = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
UDP6 = "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)"
RAW = "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_{})"
RAW6 = "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_{})"
RESET = "s.sendto(struct.pack('!HHIIBBHHH', 9, 9, n, 0, 0x50, 4, 0, 0, 0), ('10.1.0.2', 0))"
DROP = (
    "table ip trial { chain in { type filter hook prerouting priority -500; udp dport 7 drop; }; }"
)
ALL_UDP = "UdpInDatagrams UdpInErrors UdpNoPorts"
FLOODS = {
    "closed port": Flood(
        "udp_rcv", "udp dst port 4445", ALL_UDP, "s.sendto(b'x', ('10.1.0.2', 4445))", UDP
    ),
    "queue": Flood(
        "udp_rcv", "udp dst port 4445", ALL_UDP, "s.sendto(b'x', ('10.1.0.2', 4445))", UDP,
        arguments=("--transport", "queue"),
    ),
    "fragments": Flood(
        "ip_defrag", "udp", "IpReasmReqds", "s.sendto(bytes(4000), ('10.1.0.2', 4446))", UDP,
        arguments=("--filter-track-skb",),
    ),
    "dropped by a rule": Flood(
        "ip_rcv", "udp dst port 7", "IpInReceives", "s.sendto(b'x', ('10.1.0.2', 7))", UDP,
        f"nft '{DROP}'", "nft delete table ip trial",
    ),
    "udp6": Flood(
        "udpv6_rcv", "ip6 and udp", "Udp6InDatagrams Udp6InErrors Udp6NoPorts",
        "s.sendto(b'x', ('fd00:1::2', 4445))", UDP6,
    ),
    "tcp": Flood(
        "tcp_v4_rcv", "tcp and src host 10.1.0.1", "TcpInSegs", RESET, RAW.format("TCP")
    ),
    "icmp": Flood(
        "icmp_rcv", "icmp and src host 10.1.0.1", "IcmpInMsgs",
        "s.sendto(b'\\0\\0\\xff\\xff\\0\\0\\0\\0', ('10.1.0.2', 0))", RAW.format("ICMP"),
    ),
    "icmp6": Flood(
        "icmpv6_rcv", "icmp6 and src host fd00:1::1 and ip6[40] = 129", "Icmp6InEchoReplies",
        "s.sendto(b'\\x81\\0\\0\\0\\0\\0\\0\\0', ('fd00:1::2', 0))", RAW6.format("ICMPV6"),
    ),
}  # fmt: skip
IN_CI = ("fragments", "tcp")

SENDER = """
import socket, struct
{prepare}
for n in range({packets}):
    {send}
"""


@pytest.mark.parametrize("name", FLOODS if SOAK else IN_CI)
def test_printed_and_lost_are_all_that_there_was(lab: Lab, name: str) -> None:
    """The reader is held back, so that much is lost; what is told of it is exact."""
    flood = FLOODS[name]
    counters = f"nstat -asz {flood.counters} | awk '/In|No|Reasm/ {{n += $2}} END {{print n}}'"
    sender = SENDER.format(prepare=flood.prepare, packets=FLOOD_PACKETS, send=flood.send)
    lab.guest.write_file("/tmp/trial.py", sender.encode())
    if flood.setup:
        assert lab.inside("b", flood.setup).rc == 0
    arguments = ("--buffer-size", "32K", "--filter-func", flood.function, *flood.arguments)
    before = int(lab.inside("b", counters).stdout)
    with lab.tracing("--filter-netns", "b", *arguments, flood.expression) as tracing:
        sent = lab.inside("a", "exec python3 -I -S /tmp/trial.py", timeout=600)
    happened = int(lab.inside("b", counters).stdout) - before
    if flood.undo:
        assert lab.inside("b", flood.undo).rc == 0
    assert sent.rc == 0, sent.stderr
    trace = tracing.trace
    assert trace is not None
    assert happened >= FLOOD_PACKETS
    shown = trace.functions.count(flood.function)
    assert shown > 0
    assert shown + trace.summary["losses"]["buffer_full"] == happened


NAMES = r"""
import ctypes, socket, time
libc = ctypes.CDLL(None)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for name in (b"\x1b[31mred\x07", "\u202eevil".encode(), "日本".encode(), b"\xff\xfe", b"a\nb"):
    libc.prctl(15, name, 0, 0, 0)
    s.sendto(b"x", ("10.99.0.2", 9))
    time.sleep(0.01)  # without typed loads a name is read again after 100 us
"""
STRANGE = "$(printf '\\033[2Jx\\u202ey')"


@pytest.mark.representative("6.12")
def test_strange_names_do_not_reach_the_terminal(lab: Lab) -> None:
    lab.guest.write_file("/tmp/names.py", NAMES.encode())
    assert lab.run(
        f'ip netns add trial; ip -n trial link add "{STRANGE}" type dummy && '
        f'ip -n trial addr add 10.99.0.1/24 dev "{STRANGE}" && ip -n trial link set "{STRANGE}" up'
        f' && ip -n trial neigh add 10.99.0.2 lladdr 02:00:00:00:00:09 dev "{STRANGE}"'
    ).rc == 0  # fmt: skip
    tracing = lab.listen("--filter-func", "dev_hard_start_xmit", "udp and dst host 10.99.0.2")
    lab.inside("trial", "exec python3 -I -S /tmp/names.py")
    trace = tracing.finish()
    lab.run("ip netns del trial")
    rows = trace.stdout.splitlines()[1:]
    assert len(rows) == 5, trace.stdout
    assert all(char.isprintable() for row in rows for char in row)
    assert ["red" in rows[0], "evil" in rows[1], "日本" in rows[2]] == [True] * 3
    assert all("\\x1b[2Jx\\u202ey" in row for row in rows)


LIBRARY = """
import asyncio, subprocess, threading
from pwru_py import Config, Tracer

def ping():
    subprocess.run("ip netns exec a ping -c1 -W5 10.1.0.2", shell=True, stdout=subprocess.DEVNULL)

def session(**more):
    return Tracer(Config(filter="icmp", filter_func="icmp_rcv|ip_rcv", **more))

class Stop(Exception):
    pass

try:                                    # an exception within the loop
    with session() as tracer:
        ping()
        for event in tracer:
            raise Stop
except Stop:
    print("exception")

with session() as tracer:               # a break
    ping()
    for event in tracer:
        break
print("break")

with session() as one, session() as two:        # side by side
    ping()
    seen = [[], []]
    for events, tracer in zip(seen, (one, two)):
        for event in tracer:
            events.append(event.func)
            if len(events) == 4:
                tracer.stop()
print("two", seen[0] == seen[1])

def read(tracer, into):
    for event in tracer:
        into.append(event)

with session() as tracer:               # in a thread, stopped from another
    into = []
    thread = threading.Thread(target=read, args=(tracer, into))
    thread.start()
    ping()
    while len(into) < 4:
        pass
    tracer.stop()
    thread.join()
print("thread", len(into))

async def main():
    with session() as tracer:
        into = []
        reading = asyncio.create_task(asyncio.to_thread(read, tracer, into))
        await asyncio.to_thread(ping)
        while len(into) < 4:
            await asyncio.sleep(0.01)
        tracer.stop()
        await reading
        print("asyncio", len(into))

asyncio.run(main())
"""


@pytest.mark.representative("6.12")
def test_users_of_the_library(lab: Lab) -> None:
    lab.guest.write_file("/tmp/library.py", LIBRARY.encode())
    done = lab.run("python3 /tmp/library.py", timeout=120)
    assert done.rc == 0, done.stderr
    said = "exception, break, two True, thread 4, asyncio 4"
    assert ", ".join(done.stdout.splitlines()) == said
    assert lab.armed_probes() == []


STEADY = f"""
import socket, time

{UDP}
while True:
    s.sendto(b'x', ('10.1.0.2', 4447))
    time.sleep(0.02)
"""

# Says "warm" once the tracer has written so much, and takes all that comes after.
READER = """
mkfifo /tmp/written
(head -c 50000 >/dev/null; echo warm; exec cat >/dev/null) </tmp/written
"""


@pytest.mark.representative("6.12")
def test_memory_is_flat_under_a_steady_load(lab: Lab) -> None:
    """So few events that a tracer in a slow guest keeps up: all that waits is read at once."""
    reader = lab.guest.start(READER)
    few = ("--filter-func", FEW_FUNCTIONS)
    tracing = lab.listen("-w", "/tmp/written", *few, "udp and dst port 4447")
    lab.guest.write_file("/tmp/load.py", STEADY.encode())
    load = lab.guest.start("exec ip netns exec a python3 -I -S /tmp/load.py")
    reader.wait_output("warm")  # the first events bring what later ones find

    def resident_kb() -> int:
        return int(lab.run(f"awk '/VmRSS/ {{print $2}}' /proc/{tracing.process.pid}/status").stdout)

    lab.run(f"sleep {LOAD_S / 4}", timeout=LOAD_S + 60)
    early_kb = resident_kb()
    for _ in range(3):
        lab.run(f"sleep {LOAD_S / 4}", timeout=LOAD_S + 60)
    late_kb = resident_kb()
    load.stop()
    trace = tracing.finish()
    assert trace.rc == 0, trace.stderr
    assert "lost: nothing" in trace.stderr
    assert late_kb - early_kb < 2048, (early_kb, late_kb)
