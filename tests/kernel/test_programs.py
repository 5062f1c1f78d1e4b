# SPDX-License-Identifier: Apache-2.0
"""``--filter-trace-tc``, ``--filter-trace-xdp``: runs of BPF programs, loaded early and late."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernel.lab import PWRU, Lab

_SOURCE = Path(__file__).parent / "inside" / "programs.bpf.c"
# a's device gives packets to a program on their way out, to one without BTF on their way in.
_BUILD = """
set -e
cd /tmp
clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c programs.c -o programs.o
clang -O2 -target bpf -I/usr/include/x86_64-linux-gnu -c programs.c -o bare.o
modprobe -a cls_bpf sch_ingress
tc -n a qdisc add dev eth0 clsact
tc -n a filter add dev eth0 egress bpf da obj programs.o sec tc/early
tc -n a filter add dev eth0 ingress bpf da obj bare.o sec tc/early
"""
_LATE = """
tc -n a filter add dev eth0 egress pref 9 bpf da obj /tmp/programs.o sec tc/late &&
ip -n b link set dev eth0 xdpgeneric obj /tmp/programs.o sec xdp
"""
_CLEAN = "tc -n a qdisc del dev eth0 clsact; ip -n b link set dev eth0 xdpgeneric off"
_ATTACHED = "grep -c bpf_trampoline_ /proc/kallsyms"
_AWAIT = f"""
for n in $(seq 300); do
    [ $({_ATTACHED}) -ge {{count}} ] && exit 0
    sleep 0.2
done
exit 1
"""
_PINGS = "ping -c1 -W5 -s {size} 10.1.0.2; ping -c1 -W5 -s {size} fd00:1::2"


@pytest.mark.representative("5.10", "newest")
def test_programs_that_are_there_and_that_come(lab: Lab) -> None:
    lab.guest.write_file("/tmp/programs.c", _SOURCE.read_bytes())
    made = lab.run(_BUILD)
    assert made.rc == 0, made.stderr
    flags = (
        *("--filter-trace-tc", "--filter-trace-xdp", "--output-caller", "--output-skb-cb"),
        *("--output-xdp-metadata", "xdp->rxq->dev->name"),
        *("--filter-xdp-expr", "xdp->data_end - xdp->data < 242 or xdp->rxq->dev->mtu == 1"),
    )
    try:
        with lab.tracing(*flags, "--filter-func", "icmp_rcv", "icmp[0] == 8") as tracing:
            lab.inside("a", _PINGS.format(size=100))
            before = int(lab.run(_ATTACHED).stdout)
            listed = lab.run(f"{PWRU} --filter-trace-tc --list-funcs").stdout.splitlines()
            loaded = lab.run(_LATE)
            assert loaded.rc == 0, loaded.stderr
            assert lab.run(_AWAIT.format(count=before + 2), timeout=90).rc == 0, "not noticed"
            lab.inside("a", "ping -c1 -W5 -s 200 10.1.0.2")
            lab.inside("a", _PINGS.format(size=100))
    finally:
        lab.run(_CLEAN)
    assert tracing.trace is not None
    trace = tracing.trace
    assert all(event["tuple"]["icmp"]["type"] == 8 for event in trace.events)
    runs = [event for event in trace.events if event["program"]]
    at = {name: [event for event in runs if event["func"] == name] for name in _WHERE}
    assert sum(map(len, at.values())) == len(runs), "the program without BTF is not seen"
    for name, (kind, netns, length) in _WHERE.items():
        for event in at[name]:
            assert (event["module"], event["program"]["kind"]) == ("bpf", kind)
            assert (event["netns"], event["iface"]) == (lab.inode(netns), "eth0")
            assert event["len"] in (length, length + 100)
            assert event["tuple"]["saddr"] == "10.1.0.1"
    early, late, frames = (at[name] for name in _WHERE)
    assert [event["len"] for event in early] == [142, 242, 142], "each once"
    assert [event["len"] for event in late] == [242, 142]
    assert [event["packet"] for event in late] == [event["packet"] for event in early[1:]]
    assert {event["program"]["id"] for event in late}.isdisjoint(
        event["program"]["id"] for event in early
    )
    assert [event["len"] for event in frames] == [142], "the larger ones do not match"
    assert (frames[0]["packet"], frames[0]["cb"]) == (None, [])
    assert frames[0]["xdp_metadata"] == {"xdp->rxq->dev->name": "eth0"}
    assert all(event["cb"] for event in early)
    callers = {event["caller_func"].partition("+")[0] for event in early}
    assert callers == {"cls_bpf_classify"}
    assert re.match("(do_xdp_generic|bpf_prog_run_generic_xdp|netif_receive_generic_xdp)",
                    frames[0]["caller_func"])  # fmt: skip
    known = [" ".join(line.split()) for line in listed if " bpf " in line]
    (early_id,) = {event["program"]["id"] for event in early}
    assert f"early_program_of_tc - bpf tc, id {early_id}" in known
    assert any(re.fullmatch(r"early_program_o - bpf tc, id \d+ skipped: it has no BTF", line)
               for line in known)  # fmt: skip
    assert "early_program_o (id" in trace.stderr
    assert "is not traced: it has no BTF" in trace.stderr
    assert not trace.summary["losses"]["recursion"], "5.10 counts none"
    assert int(lab.run(_ATTACHED).stdout) < before, "nothing is left"


# kind, namespace, length of a frame of 100 bytes in an echo
_WHERE = {
    "early_program_of_tc": ("tc", "a", 142),
    "late_program_of_tc": ("tc", "a", 142),
    "frame_program_of_xdp": ("xdp", "b", 142),
}
