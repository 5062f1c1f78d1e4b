# SPDX-License-Identifier: Apache-2.0
"""A guest's network, and tracers that run in it.

::

    netns a                 root                    netns b
    eth0 10.1.0.1/24 ── va ── br0 ── vb ──  eth0 10.1.0.2/24
         fd00:1::1/64                            fd00:1::2/64
"""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from pwru_py.output.schema import schema
from tests.vm.guest import Completed, Guest, GuestProcess

# Kernels of the lab that have what some tests are about.
TRAMPOLINES = ("newest",)
TYPED_LOADS = ("6.12", "newest")
MODULE_BTF = ("6.1", "6.12", "newest")

PWRU = str(Path(sys.executable).parent / "pwru-py")

# What a tracer runs, and what it imports while it does. Others that an option wants it imports
# itself.
ENTRY = "pwru_py.__main__:run"
MODULES = (
    *("pwru_py.cli", "pwru_py.session", "pwru_py.signals", "pwru_py.empty.watch"),
    *("pwru_py.output.jsonl", "pwru_py.output.summary", "pwru_py.kernel.rtnetlink"),
    *("pwru_filters", "pcapy", "json", "atexit", "datetime", "pwru_py.kernel.capabilities"),
)

# What a test of a slow backend attaches: single kprobes cost tens of milliseconds each.
FEW_FUNCTIONS = "|".join(
    (
        "kfree_skb(_reason)?|__kfree_skb|kfree_skbmem|consume_skb|sk_skb_reason_drop|nf_hook_slow",
        "ip_rcv|ip_rcv_core|ip_local_out|__ip_local_out|ip_output|ip_finish_output2",
        "ip_local_deliver|ip6_output|ip6_finish_output2|ipv6_rcv|ip6_input|ip6_local_out",
        "__ip6_local_out|udp_rcv|udpv6_rcv|tcp_v4_rcv|tcp_v6_rcv|icmp_rcv|icmpv6_rcv",
        "__dev_queue_xmit|dev_hard_start_xmit|enqueue_to_backlog|__netif_receive_skb_core",
        "arp_xmit|arp_rcv|arp_process|ndisc_rcv|skb_clone|br_dev_queue_push_xmit",
    )
)

NETWORK = """
modprobe -a veth bridge iptable_filter iptable_nat ip6table_filter ip6table_nat || exit 1
modprobe -a br_netfilter 2>/dev/null
sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
ip link add br0 type bridge
ip link set br0 up
for n in a b; do
    ip netns add $n
    ip link add v$n type veth peer name eth0 netns $n
    ip link set v$n master br0
    sysctl -qw net.ipv6.conf.v$n.disable_ipv6=1
    ip link set v$n up
    ip -n $n link set lo up
    ip -n $n link set eth0 up
done
sysctl -qw net.ipv6.conf.br0.disable_ipv6=1
ip -n a addr add 10.1.0.1/24 dev eth0
ip -n b addr add 10.1.0.2/24 dev eth0
ip -n a addr add fd00:1::1/64 dev eth0 nodad
ip -n b addr add fd00:1::2/64 dev eth0 nodad
ip -n a route add default via 10.1.0.2
ip -n a -6 route add default via fd00:1::2
ip link set lo up
ip netns exec a ping -c1 -W5 10.1.0.2 && ip netns exec a ping -6 -c1 -W5 fd00:1::2
"""


@cache
def validator(kind: str) -> Draft202012Validator:
    """Of lines of one type: what it says is clearer than of all types at once."""
    whole = schema()
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": whole["$defs"]})


def frame_text(frame: dict[str, Any]) -> str:
    """A frame of ``stack`` as ``location`` and ``caller_func`` have it."""
    if not frame["symbol"]:
        return f"0x{int(frame['addr'], 16):016x}"
    module = f" [{frame['module']}]" if frame["module"] else ""
    return f"{frame['symbol']}+0x{frame['offset']:x}{module}"


@dataclass(frozen=True)
class Trace:
    """What a tracer wrote, and how it ended."""

    rc: int
    stdout: str
    stderr: str

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in self.stdout.splitlines()]
        shapes = {(record["type"], *record): record for record in records}
        for record in shapes.values():  # each of a thousand events would take too long
            validator(record["type"]).validate(record)
        return records

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == "event"]

    @property
    def summary(self) -> dict[str, Any]:
        (summary,) = (record for record in self.records if record["type"] == "summary")
        return summary

    @property
    def functions(self) -> list[str]:
        return [event["func"] for event in self.events]


class Tracing:
    """A tracer in the guest that listens; ``finish`` ends it with SIGTERM."""

    def __init__(self, guest: Guest, process: GuestProcess) -> None:
        self._guest = guest
        self.process = process
        self.trace: Trace | None = None

    def finish(self, timeout: float = 120.0) -> Trace:
        rc = self.process.stop(timeout)
        self.trace = Trace(rc, self.process.stdout(), self.process.stderr())
        return self.trace


class Lab:
    """One kernel's guest with the network above."""

    def __init__(self, guest: Guest, kernel: str) -> None:
        self.guest = guest
        self.kernel = kernel
        self._numbers = itertools.count()
        self._inodes: dict[str, int] = {}
        self._started: list[GuestProcess] = []
        done = guest.run(NETWORK, timeout=120)
        assert done.rc == 0, done.stdout + done.stderr
        guest.run("mount -t debugfs none /sys/kernel/debug; mount -t tracefs none "
                  "/sys/kernel/tracing; true")  # fmt: skip

    @cached_property
    def multi(self) -> bool:
        """Whether this kernel attaches many functions at once."""
        return self.run("grep -qw register_fprobe_ips /proc/kallsyms").rc == 0

    @cached_property
    def trampolines(self) -> bool:
        """Whether it does so by BPF trampolines, too."""
        return self.run("grep -qw bpf_trampoline_multi_attach /proc/kallsyms").rc == 0

    @cached_property
    def has_reasons(self) -> bool:
        return self.kernel != "5.10"

    @cached_property
    def has_module_btf(self) -> bool:
        return self.run("test -e /sys/kernel/btf/veth").rc == 0

    @property
    def few(self) -> list[str]:
        """Arguments that narrow the functions where attaching is slow."""
        return [] if self.multi else ["--filter-func", FEW_FUNCTIONS]

    def run(self, command: str, timeout: float = 60.0) -> Completed:
        return self.guest.run(command, timeout)

    def inside(self, namespace: str, command: str, timeout: float = 60.0) -> Completed:
        return self.run(f"ip netns exec {namespace} bash -c {shlex.quote(command)}", timeout)

    def inode(self, namespace: str) -> int:
        if namespace not in self._inodes:
            found = self.run(f"stat -Lc %i /run/netns/{namespace}").stdout
            self._inodes[namespace] = int(found)
        return self._inodes[namespace]

    def start(self, *arguments: str, netns: str = "", through: str = PWRU) -> Tracing:
        """A tracer that is about to attach; ``through``: the words that start it."""
        if through == PWRU and not netns:
            process = self.guest.call(ENTRY, [PWRU, *arguments], MODULES)
        else:
            command = " ".join((through, *map(shlex.quote, arguments)))
            enter = f"ip netns exec {netns} " if netns else ""
            process = self.guest.start(f"exec {enter}{command}")
        self._started.append(process)
        return Tracing(self.guest, process)

    def end_tracers(self) -> None:
        """Those that a failed test left behind, so that the next one does not meet their probes."""
        while self._started:
            process = self._started.pop()
            if process.poll() is None:
                process.stop(timeout=400)

    def listen(
        self, *arguments: str, netns: str = "", through: str = PWRU, timeout: float = 120.0
    ) -> Tracing:
        """A tracer that has attached everything."""
        ready = f"/tmp/ready-{next(self._numbers)}"
        tracing = self.start("--ready-file", ready, *arguments, netns=netns, through=through)
        self._await(tracing, ready, timeout)
        return tracing

    def _await(self, tracing: Tracing, ready: str, timeout: float) -> None:
        for _ in range(int(timeout / 2)):
            try:
                self.guest.wait_file(ready, 2)
                return
            except Exception:
                if tracing.process.poll() is not None:
                    break
        raise AssertionError(
            f"not listening (status {tracing.process.poll()}): {tracing.process.stderr()}"
        )

    @contextmanager
    def tracing(self, *arguments: str, netns: str = "") -> Iterator[Tracing]:
        """Listens inside the block, ends behind it; the trace is in ``.trace`` then."""
        tracing = self.listen("--output-json", *arguments, netns=netns)
        try:
            yield tracing
        finally:
            trace = tracing.finish()
        assert trace.rc == 0, trace.stderr

    def attached_probes(self) -> str:
        """Every kprobe and every function that ftrace patched, one a line."""
        return self.run(
            "cat /sys/kernel/debug/kprobes/list /sys/kernel/tracing/enabled_functions"
        ).stdout

    def kprobes(self) -> list[str]:
        """Every kprobe, armed or not."""
        return self.run("cat /sys/kernel/debug/kprobes/list").stdout.splitlines()

    def armed_probes(self) -> list[str]:
        """Those of ``attached_probes`` that are not disabled."""
        lines = self.attached_probes().splitlines()
        return [line for line in lines if "[DISABLED]" not in line]
