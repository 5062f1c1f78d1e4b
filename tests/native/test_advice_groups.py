# SPDX-License-Identifier: Apache-2.0
"""``--advice`` where control groups matter: their BPF programs, and containers' names."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from pwru_py.kernel.cgroup import own_group
from tests.native.bpf import GROUP_EGRESS, GROUP_INGRESS, refusing
from tests.native.net import Net
from tests.native.test_advice import SEND, UDP, advice, advising, facts, first

SENDS = f"""
{UDP}
try:
    s.sendto(b"x", ("10.77.2.2", 4000))
except PermissionError:
    pass
print("done", flush=True)
input()
"""
REFUSES = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 4000))
if {own}:
    import ctypes
    code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # ret 0
    program = struct.pack("=HxxxxxxQ", 1, ctypes.addressof(code))
    s.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
print("done", flush=True)
input()
"""


@pytest.fixture
def groups() -> Iterator[tuple[str, str]]:
    """Two control groups beside one another, directories."""
    with own_group() as group:
        made = [f"{group}/{name}" for name in ("one", "two")]
        for path in made:
            os.mkdir(path)
        yield made[0], made[1]
        for path in made:
            os.rmdir(path)


@contextlib.contextmanager
def staying(group: str, netns: str, program: str) -> Iterator[None]:
    """A Python program of a control group, in a namespace: it has printed a line, and waits."""
    join = f"echo $$ > {group}/cgroup.procs && exec nsenter --net={netns}"
    command = ["bash", "-c", f'{join} /usr/bin/python3 -I -S -c "$0"', program]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "done\n"
            yield
        finally:
            process.communicate("\n", timeout=60)


def test_a_program_of_the_sender_s_control_group(net: Net, groups: tuple[str, str]) -> None:
    """Not that of another group, whose sockets send nothing."""
    mine, other = groups
    with (
        refusing(mine, GROUP_EGRESS, "sd_fw_egress"),
        refusing(other, GROUP_EGRESS, "not_me"),
        contextlib.ExitStack() as behind,  # the socket is there when the tracer looks for it
        advising(net, "a", "udp dst port 4000") as traces,
    ):
        behind.enter_context(staying(mine, net.netns("a"), SENDS))
    said = advice(traces[0], "BPF_CGROUP_EGRESS")
    verdict, what = first(said)
    assert verdict == "proven"
    assert re.search(r"refused by program sd_fw_egress \(id \d+\) of /\S*/one$", what)
    assert "IPAddressAllow=" in said["findings"][0]["change"]
    assert "not_me" not in json.dumps(said)


def test_a_program_of_the_receiver_s_control_group(net: Net, groups: tuple[str, str]) -> None:
    mine, _ = groups
    with (
        refusing(mine, GROUP_INGRESS, "refuses"),
        staying(mine, net.netns("b"), REFUSES.format(own=False)),
        advising(net, "b", "udp dst port 4000") as traces,
    ):
        net.python("a", SEND)
    verdict, what = first(advice(traces[0], "SOCKET_FILTER"))
    assert verdict == "likely", "a filter of the socket itself has the same reason"
    assert re.search(r"refused it by program refuses \(id \d+\) of /\S*/one; else ", what)


def test_a_filter_of_the_socket_is_no_program_of_a_control_group(
    net: Net, groups: tuple[str, str]
) -> None:
    mine, other = groups
    with (
        refusing(other, GROUP_INGRESS, "refuses"),
        staying(mine, net.netns("b"), REFUSES.format(own=True)),
        advising(net, "b", "udp dst port 4000") as traces,
    ):
        net.python("a", SEND)
    said = advice(traces[0], "SOCKET_FILTER")
    assert first(said)[0] == "likely"
    assert first(said)[1].startswith("a filter of the socket itself (SO_ATTACH_FILTER)")
    assert "refuses" not in json.dumps(said)
    assert said["findings"][1]["verdict"] == "not this"


def test_a_pod_has_its_name_and_not_that_of_its_namespace(net: Net) -> None:
    """What CNI calls a namespace tells nobody; the drop and the open port are told alike."""
    name, digits = f"cni-{uuid.uuid4()}", f"{os.getpid():012x}" + "0b" * 26
    listens = REFUSES.format(own=False)
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=60)
    with contextlib.ExitStack() as undo:
        undo.callback(subprocess.run, ["ip", "netns", "del", name], check=True, timeout=60)
        group = undo.enter_context(own_group())
        scope = f"{group}/docker-{digits}.scope"
        os.mkdir(scope)
        undo.callback(os.rmdir, scope)
        undo.enter_context(staying(scope, f"/run/netns/{name}", listens))
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=60)
        inside = ["ip", "netns", "exec", name, "/usr/bin/python3", "-ISc"]
        send = UDP + "s.sendto(b'x', ('127.0.0.1', 4001))"
        with net.tracing("--drops", "--advice", "--output-json", "udp") as traces:
            net.python("a", SEND)
            subprocess.run([*inside, send], check=True, timeout=60)
    told = {r["tuple"]["dport"]: r for r in traces[0].records if r["type"] == "advice"}
    assert told[4001]["netns_name"] == f"docker:{digits[:12]}"
    assert facts(told[4000])["open in namespace"]["value"] == f"docker:{digits[:12]}"
