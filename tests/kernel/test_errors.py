# SPDX-License-Identifier: Apache-2.0
"""What is wrong is said in one line: what, why, what to do; and nothing stays attached."""

from __future__ import annotations

import pytest

from tests.kernel.conftest import boot
from tests.kernel.lab import Lab

# what: (arguments, exit status, words in the one line)
WRONG: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "filter": ("'host and'", 2, ("syntax error",)),
    "flag": ("--filter-fnc x", 2, ("--filter-func",)),
    "interface": ("-i nosuch0 icmp", 1, ("nosuch0", "ip link")),
    "netns name": ("--filter-netns nosuch icmp", 1, ("nosuch", "ip netns", "a, b")),
    "netns path": ("--filter-netns /proc/999999/ns/net icmp", 1, ("/proc/999999/ns/net",)),
    "module": ("--kmods nosuch icmp", 1, ("nosuch", "modprobe")),
    "function": ("--filter-func nosuch_function", 1, ("nosuch_function", "--list-funcs")),
    "btf": ("--kernel-btf /nosuch icmp", 1, ("/nosuch",)),
    "not btf": ("--kernel-btf /bin/true icmp", 1, ("BTF",)),
    "output": ("-w /proc/nosuch/file icmp", 1, ("/proc/nosuch/file", "--output-file")),
    "not root": ("DROP icmp", 1, ("CAP_BPF", "CAP_PERFMON", "sudo")),
    "ready file": ("--ready-file /nosuch/x --filter-func ip_rcv", 1, ("/nosuch/x",)),
}


@pytest.mark.representative("6.12")
@pytest.mark.parametrize("what", WRONG)
def test_one_line(lab: Lab, what: str) -> None:
    arguments, status, words = WRONG[what]
    command = f"pwru-py {arguments}"
    if "DROP" in arguments:
        command = "setpriv --reuid=65534 --clear-groups --bounding-set=-all --inh-caps=-all " + (
            command.replace("DROP ", "")
        )
    done = lab.run(command)
    assert done.rc == status, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("pwru-py: ")
    for word in words:
        assert word in line
    assert done.stdout == "" or what == "ready file"
    assert lab.attached_probes() == ""


# what is hidden from the tool: (mounts in a namespace of its own, arguments, words)
HIDDEN = {
    "btf": ("/sys/kernel/btf", "icmp", ("no BTF", "--kernel-btf")),
    "kprobes": ("/sys/bus/event_source/devices", "--backend kprobe icmp", ("no kprobes",)),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_a_kernel_without(lab: Lab, what: str) -> None:
    place, arguments, words = HIDDEN[what]
    done = lab.run(f"unshare -m bash -c 'mount -t tmpfs none {place}; pwru-py {arguments}'")
    assert (done.rc, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line


@pytest.mark.representative("5.10", "newest")
def test_without_tracefs_kallsyms_tells_what_can_be_attached(lab: Lab) -> None:
    forget = "mkdir -p /var/cache/pwru-py; mount -t tmpfs none /var/cache/pwru-py"
    hide = f"umount /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug; {forget}"
    done = lab.run(f"unshare -m bash -c '{hide}; pwru-py --list-funcs'")
    assert done.rc == 0, done.stderr
    assert "ip_rcv " in done.stdout
    assert "available_filter_functions" not in done.stdout


@pytest.mark.kernel
@pytest.mark.xdist_group("kernel-6.12")
def test_locked_down_kernel() -> None:
    with boot("6.12", kernel_args=["lockdown=confidentiality"]) as guest:
        done = guest.run("pwru-py icmp")
    assert (done.rc, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "locked down" in line


@pytest.mark.representative("6.12")
def test_full_disk(lab: Lab) -> None:
    tracing = lab.start("-w", "/dev/full", "--filter-func", "ip_rcv", "icmp")
    assert tracing.process.wait(30) == 1
    (line,) = tracing.process.stderr().splitlines()
    assert "/dev/full" in line
    assert "disk is full" in line
    assert lab.attached_probes() == ""


@pytest.mark.representative("6.12")
def test_debug_shows_the_traceback(lab: Lab) -> None:
    done = lab.run("pwru-py --debug -i nosuch0 icmp")
    assert done.rc == 1
    assert "Traceback" in done.stderr


TWICE = ("calipso_skbuff_delattr", "calipso_skbuff_setattr")


def test_list_funcs(lab: Lab) -> None:
    done = lab.run("pwru-py --list-funcs")
    assert done.rc == 0, done.stderr
    functions, _, sets = done.stdout.partition("\n\n")
    counts = {line.split()[0]: int(line.split()[1]) for line in sets.splitlines()[1:]}
    assert 50 <= counts["@core"] <= 60
    assert all(count >= 10 for count in counts.values()), counts
    rows = {line.split()[0]: line.split()[1:] for line in functions.splitlines()[1:]}
    assert rows["ip_rcv"] == ["1", "vmlinux"]
    assert all(row[2] == "skipped:" for row in rows.values() if row[0] == "-")
    assert " ".join(rows["skb_dequeue"]).endswith("but a list of them (struct sk_buff_head *)")
    assert rows["vlan_do_receive"][-3:] == ["(struct", "sk_buff", "**)"]
    assert rows["tcp_fastopen_add_skb.part.0"][3:6] == ["made", "of", "tcp_fastopen_add_skb:"]
    if lab.kernel not in ("5.10", "6.1"):
        assert "ip6_pkt_drop.isra.0," in rows["ip6_pkt_drop"]
    traced = [line.split()[0] for line in functions.splitlines()[1:] if line.split()[1] != "-"]
    assert len(traced) > 1000
    # Functions of one name, of which BTF has each, or has found that they agree.
    twice = {"6.1": {"add_grec", "add_grhead"}, "6.12": {"reg_vif_xmit", *TWICE}}
    assert {name for name in traced if traced.count(name) > 1} == twice.get(lab.kernel, set())
    assert lab.attached_probes() == ""


@pytest.mark.representative("6.12")
def test_hostile_process_names_are_escaped(lab: Lab) -> None:
    evil = "import ctypes,socket;ctypes.CDLL(None).prctl(15,b'\\x1b[31mA\\n',0,0,0);" + (
        "socket.socket(2,2).sendto(b'x',('10.1.0.2',6666))"
    )
    with lab.tracing("--filter-func", "ip_send_skb|ip_output", "udp and port 6666") as tracing:
        lab.inside("a", f'python3 -I -S -c "{evil}"')
    assert tracing.trace is not None
    assert "\x1b" not in tracing.trace.stdout
    assert tracing.trace.events[0]["comm"] == "\\x1b[31mA\\x0a"
