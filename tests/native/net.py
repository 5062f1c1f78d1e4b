# SPDX-License-Identifier: Apache-2.0
"""Namespaces a, r, b: r forwards between the others. Tracers on the machine itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.lab import Trace

A, B = "10.77.1.2", "10.77.2.2"
_TAG = f"pwru{os.getpid()}"
_SET_UP = """
set -e
for n in a r b; do ip netns add {tag}$n; ip -n {tag}$n link set lo up; done
ip link add e0 netns {tag}a address 02:00:00:00:01:02 type veth \
    peer name e1 netns {tag}r address 02:00:00:00:01:01
ip link add e2 netns {tag}r address 02:00:00:00:02:01 type veth \
    peer name e3 netns {tag}b address 02:00:00:00:02:02
ip -n {tag}a addr add 10.77.1.2/24 dev e0; ip -n {tag}r addr add 10.77.1.1/24 dev e1
ip -n {tag}r addr add 10.77.2.1/24 dev e2; ip -n {tag}b addr add 10.77.2.2/24 dev e3
ip -n {tag}a link set e0 up; ip -n {tag}r link set e1 up
ip -n {tag}r link set e2 up; ip -n {tag}b link set e3 up
ip -n {tag}a route add default via 10.77.1.1; ip -n {tag}b route add default via 10.77.2.1
ip netns exec {tag}r sysctl -qw net.ipv4.ip_forward=1
ip netns exec {tag}a ping -c1 -W5 10.77.2.2 >/dev/null
"""


def serving(port: int, then: str) -> str:
    """A program that prints the number of a process, which does ``then`` with a connection."""
    return f"""
import os, socket, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", {port}))
s.listen()
if stays := os.fork():
    print(stays)
else:
    os.closerange(0, 3)
    taken, _ = s.accept()
    {then}
"""


class Net:
    """The namespaces; gone with the block. Every command ends within a minute."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pwru-native-"))
        self._serial = 0

    def __enter__(self) -> Net:
        try:
            self._run(["bash", "-c", _SET_UP.format(tag=_TAG)])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in "arbm":
            subprocess.run(["ip", "netns", "del", _TAG + name], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", str(self.directory)], check=True)

    @staticmethod
    def _run(command: list[str], *, check: bool = True) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        return done.stdout

    def run(self, namespace: str, command: str, *, check: bool = True) -> str:
        """What the command prints that bash runs in ``namespace``."""
        enter = ["ip", "netns", "exec", _TAG + namespace, "bash", "-c", command]
        return self._run(enter, check=check)

    def python(self, namespace: str, program: str, *, check: bool = True) -> str:
        enter = ["ip", "netns", "exec", _TAG + namespace, "/usr/bin/python3", "-I", "-S", "-c"]
        return self._run([*enter, program], check=check)

    def add(self, namespace: str) -> None:
        """One more, ``m``."""
        self._run(["ip", "netns", "add", _TAG + namespace])

    def remove(self, namespace: str) -> None:
        self._run(["ip", "netns", "del", _TAG + namespace])

    @staticmethod
    def name(namespace: str) -> str:
        """What ``ip netns`` calls it."""
        return _TAG + namespace

    def inode(self, namespace: str) -> int:
        return os.stat(f"/run/netns/{_TAG}{namespace}").st_ino

    def netns(self, namespace: str) -> str:
        """What ``--filter-netns`` takes."""
        return f"/run/netns/{_TAG}{namespace}"

    @contextmanager
    def tracing(self, *arguments: str) -> Iterator[list[Trace]]:
        """The tracer listens inside the block; the list holds its trace behind it."""
        self._serial += 1
        ready = self.directory / f"ready-{self._serial}"
        command = [sys.executable, "-m", "pwru_py", "--ready-file", str(ready), *arguments]
        out, err = (self.directory / f"{name}-{self._serial}" for name in ("out", "err"))
        with out.open("w") as stdout, err.open("w") as stderr:
            tracer = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        traces: list[Trace] = []
        try:
            for _ in range(600):
                if ready.exists() or tracer.poll() is not None:
                    break
                time.sleep(0.05)
            assert ready.exists(), err.read_text()
            yield traces
            tracer.send_signal(signal.SIGTERM)
            status = tracer.wait(60)
        finally:
            tracer.kill()
            tracer.wait()
        traces.append(Trace(status, out.read_text(), err.read_text()))
        assert status == 0, traces[0].stderr

    @contextmanager
    def trace(self, *arguments: str) -> Iterator[list[Trace]]:
        """The same with ``--backend tracepoint --output-json``."""
        with self.tracing("--backend", "tracepoint", "--output-json", *arguments) as traces:
            yield traces
