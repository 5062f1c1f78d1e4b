# SPDX-License-Identifier: Apache-2.0
"""Runs in the guest: takes requests from a virtio serial port and serves them in one thread.

A message is a dict in Python's marshal format behind its length (4 bytes, big endian): the host
runs the same interpreter. A request is `{"id", "op", …}`, its answer `{"id", "ok": {…}}` or
`{"id", "error": text}`; answers come in the order things finish.

Only built-in modules are imported at the start: `json` and `signal` alone would add 0.6 s to every
boot.
"""

from __future__ import annotations

import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Message = dict[str, Any]

PORTS = "/sys/class/virtio-ports"
OUTPUT = "/tmp/lab"
FILE_POLL_S = 0.05
LENGTH_BYTES = 4
SIGINT, SIGQUIT, SIGKILL, SIGPIPE, SIGTERM = 2, 3, 9, 13, 15


class Child:
    """A `bash -c`, or a call in a copy of this process, with its output going to two files.

    `returncode` is None while it runs.
    """

    def __init__(self, number: int, request: Message) -> None:
        self.stdout_path = f"{OUTPUT}/{number}.out"
        self.stderr_path = f"{OUTPUT}/{number}.err"
        self.returncode: int | None = None
        self.pid = self._fork(request) if "call" in request else self._spawn(request)
        self.pidfd = os.pidfd_open(self.pid)

    def _spawn(self, request: Message) -> int:
        return os.posix_spawn(
            "/bin/bash",
            ["bash", "-c", request["cmd"]],
            {**os.environ, **request["env"]},
            file_actions=[(os.POSIX_SPAWN_OPEN, fd, *how) for fd, how in self._streams()],
            setsid=True,
            setsigdef=(SIGINT, SIGQUIT, SIGPIPE, SIGTERM),
        )

    def _fork(self, request: Message) -> int:
        """Runs `module:function` of the host's interpreter, with the modules that it wants.

        They are imported here, once: importing is half of what a short program takes.
        """
        sys.path[:] = request["path"]
        for name in request["modules"]:
            __import__(name)
        pid = os.fork()
        if pid:
            return pid
        status = 70
        try:
            os.setsid()
            os.environ.update(request["env"])
            for fd, how in self._streams():
                os.dup2(os.open(*how), fd)
            os.closerange(3, 256)
            status = _call(request["call"], request["argv"])
        finally:
            os._exit(status)

    def _streams(self) -> tuple[tuple[int, tuple[str, int, int]], ...]:
        """(fd, what it is opened by) of each."""
        create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        return (
            (0, ("/dev/null", os.O_RDONLY, 0)),
            (1, (self.stdout_path, create, 0o644)),
            (2, (self.stderr_path, create, 0o644)),
        )

    def reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        os.close(self.pidfd)

    def kill_session(self) -> None:
        try:
            os.killpg(self.pid, SIGKILL)
        except ProcessLookupError:
            pass

    def outcome(self) -> Message:
        return {
            "rc": self.returncode,
            "stdout": _read(self.stdout_path),
            "stderr": _read(self.stderr_path),
        }

    def forget_output(self) -> None:
        os.unlink(self.stdout_path)
        os.unlink(self.stderr_path)


class Waiter:
    """A request that is answered later: when `check` returns something, or at the deadline."""

    def __init__(self, request: Message, check: Callable[[], Message | None]) -> None:
        self.request_id = request["id"]
        self.deadline_s = time.monotonic() + request["timeout_s"]
        self.check = check
        self.polled = False
        self.on_timeout: Callable[[], Message] = dict


class Agent:
    def __init__(self, port: int) -> None:
        self._port = port
        self._received = bytearray()
        self._children: dict[int, Child] = {}
        self._waiters: list[Waiter] = []
        self._spawned = 0

    def serve(self) -> None:
        """Until the host hangs up."""
        uname = os.uname()
        self._answer(0, {"release": uname.release, "uptime_s": _read("/proc/uptime").decode()})
        while self._turn():
            pass

    def _turn(self) -> bool:
        poller = select.poll()
        poller.register(self._port, select.POLLIN)
        running = {c.pidfd: c for c in self._children.values() if c.returncode is None}
        for pidfd in running:
            poller.register(pidfd, select.POLLIN)
        for fd, _ in poller.poll(self._poll_timeout_ms()):
            if fd in running:
                running[fd].reap()
            elif not self._receive():
                return False
        self._settle_waiters()
        return True

    def _poll_timeout_ms(self) -> float | None:
        if not self._waiters:
            return None
        left_s: float = min(w.deadline_s for w in self._waiters) - time.monotonic()
        if any(w.polled for w in self._waiters):
            left_s = min(left_s, FILE_POLL_S)
        return max(left_s, 0.0) * 1000 + 1

    def _receive(self) -> bool:
        chunk = os.read(self._port, 65536)
        self._received += chunk
        while (end := message_end(self._received)) is not None:
            request = marshal.loads(self._received[LENGTH_BYTES:end])
            del self._received[:end]
            self._serve(request)
        return bool(chunk)  # nothing to read: the host has hung up

    def _serve(self, request: Message) -> None:
        try:
            ok = getattr(self, f"op_{request['op']}")(request)
        except Exception as error:
            self._send({"id": request["id"], "error": f"{type(error).__name__}: {error}"})
        else:
            if ok is not None:
                self._answer(request["id"], ok)

    def _settle_waiters(self) -> None:
        now_s = time.monotonic()
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            ok = waiter.check()
            if ok is None and now_s >= waiter.deadline_s:
                ok = {"timeout": True, **waiter.on_timeout()}
            if ok is None:
                self._waiters.append(waiter)
            else:
                self._answer(waiter.request_id, ok)

    def op_run(self, request: Message) -> None:
        child = self._spawn(request)

        def finished() -> Message | None:
            if child.returncode is None:
                return None
            outcome = child.outcome()
            child.forget_output()
            del self._children[child.pid]
            return outcome

        def give_up() -> Message:
            child.kill_session()
            return child.outcome()

        waiter = Waiter(request, finished)
        waiter.on_timeout = give_up
        self._waiters.append(waiter)

    def op_start(self, request: Message) -> Message:
        child = self._spawn(request)
        return {"pid": child.pid, "stdout": child.stdout_path, "stderr": child.stderr_path}

    def op_poll(self, request: Message) -> Message:
        return {"rc": self._children[request["pid"]].returncode}

    def op_wait(self, request: Message) -> None:
        child = self._children[request["pid"]]

        def finished() -> Message | None:
            return None if child.returncode is None else {"rc": child.returncode}

        self._waiters.append(Waiter(request, finished))

    def op_signal(self, request: Message) -> Message:
        child = self._children[request["pid"]]
        if child.returncode is None:
            os.kill(child.pid, request["signo"])
        return {}

    def op_read(self, request: Message) -> Message:
        return {"content": _read(request["path"])}

    def op_write(self, request: Message) -> Message:
        os.makedirs(os.path.dirname(request["path"]), exist_ok=True)
        with open(request["path"], "wb") as file:
            file.write(request["content"])
        return {}

    def op_wait_file(self, request: Message) -> None:
        path, containing = request["path"], request["containing"]

        def there() -> Message | None:
            try:
                return {} if containing in _read(path) else None
            except FileNotFoundError:
                return None

        waiter = Waiter(request, there)
        waiter.polled = True
        self._waiters.append(waiter)

    def _spawn(self, request: Message) -> Child:
        self._spawned += 1
        child = Child(self._spawned, request)
        self._children[child.pid] = child
        return child

    def _answer(self, request_id: int, ok: Message) -> None:
        self._send({"id": request_id, "ok": ok})

    def _send(self, message: Message) -> None:
        content = marshal.dumps(message)
        rest = memoryview(len(content).to_bytes(LENGTH_BYTES, "big") + content)
        while rest:
            self._await_writable()
            rest = rest[os.write(self._port, rest) :]

    def _await_writable(self) -> None:
        """A plain write would wait for ever for a host that has hung up."""
        poller = select.poll()
        poller.register(self._port, select.POLLOUT)
        for _, events in poller.poll():
            if events & select.POLLHUP:
                sys.exit("agent: the host has hung up")


def _call(function: str, argv: list[str]) -> int:
    """As a program that ends with the function's result: its streams, signals, name and status."""
    import atexit
    import signal
    import traceback

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    sys.executable, sys.argv = argv[0], argv[1:]
    with open("/proc/self/comm", "w") as comm:
        comm.write(os.path.basename(sys.argv[0]))
    module, _, name = function.partition(":")
    try:
        status = getattr(sys.modules[module], name)()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            pass
    return status or 0


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def message_end(received: bytearray) -> int | None:
    """Where the first message ends; None while it is incomplete."""
    end = LENGTH_BYTES + int.from_bytes(received[:LENGTH_BYTES], "big")
    return end if len(received) >= LENGTH_BYTES and end <= len(received) else None


def open_port(name: str) -> int:
    """Open the virtio serial port `name`; found through /sys as there may be no udev."""
    for device in os.listdir(PORTS):
        if _read(f"{PORTS}/{device}/name").decode().strip() == name:
            return os.open(f"/dev/{device}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    raise FileNotFoundError(f"virtio port {name}")


def main() -> None:
    os.makedirs(OUTPUT, exist_ok=True)
    Agent(open_port(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
