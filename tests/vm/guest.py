# SPDX-License-Identifier: Apache-2.0
"""A guest: one kernel, booted, that runs commands and moves files.

`python -m tests.vm.guest --kernel 6.12 -- 'command'` runs one command and exits with its status.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.vm.channel import Channel, ChannelClosedError, ChannelTimeoutError, Message
from tests.vm.errors import GuestCommandError, GuestDiedError, GuestTimeoutError, LabError
from tests.vm.kernels import ALL, Kernel, fetch
from tests.vm.machine import Hardware, Machine, kvm_usable, vng_command

ANSWER_GRACE_S = 20.0  # beyond a request's own timeout, before the guest counts as hung
ICOUNT_SLOWDOWN = 20  # a guest second may last this many of ours when its clock counts
LAST_WORDS_S = 2.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command; `rc` is negative when a signal ended it."""

    rc: int
    stdout: str
    stderr: str


class GuestProcess:
    """A command in the background. `pid` is the shell's, or the program's after `exec program`."""

    def __init__(self, guest: Guest, started: Message) -> None:
        self._guest = guest
        self.pid: int = started["pid"]
        self.stdout_path: str = started["stdout"]
        self.stderr_path: str = started["stderr"]

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        rc: int | None = self._guest.ask("poll", pid=self.pid)["rc"]
        return rc

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit status, once ended; GuestTimeoutError after `timeout` seconds."""
        answer = self._guest.ask("wait", timeout, pid=self.pid)
        if "timeout" in answer:
            message = f"process {self.pid} still runs after {timeout:g} s"
            raise GuestTimeoutError(message, self.stdout(), self.stderr())
        rc: int = answer["rc"]
        return rc

    def signal(self, signo: int) -> None:
        """Send a signal to this one process; no error when it has ended already."""
        self._guest.ask("signal", pid=self.pid, signo=int(signo))

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM, then wait."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def stdout(self) -> str:
        """All it wrote so far."""
        return _text(self._guest.read_file(self.stdout_path))

    def stderr(self) -> str:
        return _text(self._guest.read_file(self.stderr_path))

    def wait_output(self, text: str, timeout: float = 60.0, *, stderr: bool = False) -> None:
        """Until `text` is in its output; GuestTimeoutError carries what came instead."""
        path = self.stderr_path if stderr else self.stdout_path
        try:
            self._guest.wait_file(path, timeout, containing=text)
        except GuestTimeoutError as error:
            message = f"process {self.pid} (status {self.poll()}): {error}"
            raise GuestTimeoutError(message, self.stdout(), self.stderr()) from error


class Guest:
    """Boots in the constructor, dies with `close`, at the end of a `with`, or at exit.

    `env` is added to every command's environment. Commands start in the project's folder with
    this interpreter's programs first in PATH.
    """

    def __init__(
        self,
        kernel: str | Kernel = "6.12",
        *,
        cpus: int = 2,
        memory: str = "3G",
        icount: bool = False,
        kernel_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        boot_timeout: float = 180.0,
    ) -> None:
        self.kernel = fetch(kernel) if isinstance(kernel, str) else kernel
        self._env = {**_default_environment(), **(env or {})}
        self._slowdown = ICOUNT_SLOWDOWN if icount else 1
        self._directory = Path(tempfile.mkdtemp(prefix="lab-"))
        self._machine: Machine | None = None
        self._channel = Channel(self._directory / "s", self._check_alive)
        hardware = Hardware(cpus=cpus, memory=memory, icount=icount)
        atexit.register(self.close)
        try:
            self._boot(hardware, tuple(kernel_args), boot_timeout * self._slowdown)
        except BaseException:
            self.close()
            raise

    def _boot(self, hardware: Hardware, kernel_args: tuple[str, ...], timeout_s: float) -> None:
        started_s = time.monotonic()
        kvm = kvm_usable() and not hardware.icount
        command = vng_command(self.kernel, hardware, self._directory, kernel_args, kvm=kvm)
        self._machine = Machine(command, self._directory)
        try:
            greeting = self._channel.accept(timeout_s)
        except ChannelTimeoutError as error:
            raise self._died(f"no sign of life after {timeout_s:g} s") from error
        except ChannelClosedError as error:
            raise self._died("QEMU ended while booting") from error
        self.boot_s = time.monotonic() - started_s
        self.release: str = greeting["ok"]["release"]

    @property
    def boot_log(self) -> str:
        """All the console said so far."""
        return self._machine.console if self._machine else ""

    def run(
        self,
        cmd: str,
        timeout: float = 60.0,
        *,
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> Completed:
        """Run `bash -c cmd` to its end; killed with its children at `timeout` (guest) seconds.

        With `check`, a status other than 0 raises GuestCommandError.
        """
        answer = self.ask("run", timeout, cmd=cmd, env={**self._env, **(env or {})})
        stdout, stderr = _text(answer["stdout"]), _text(answer["stderr"])
        if "timeout" in answer:
            raise GuestTimeoutError(f"not done after {timeout:g} s: {cmd}", stdout, stderr)
        if check and answer["rc"] != 0:
            message = f"status {answer['rc']} of: {cmd}\n{stdout}{stderr}"
            raise GuestCommandError(message, self.boot_log)
        return Completed(answer["rc"], stdout, stderr)

    def start(self, cmd: str, *, env: Mapping[str, str] | None = None) -> GuestProcess:
        """Run `bash -c cmd` in the background, in a session of its own."""
        return GuestProcess(self, self.ask("start", cmd=cmd, env={**self._env, **(env or {})}))

    def call(self, function: str, argv: Sequence[str], modules: Sequence[str]) -> GuestProcess:
        """Run `module:function` in the background, in a copy of a process that has `modules`.

        As if `argv` had been started, in a session of its own, but nothing is imported again.
        """
        started = self.ask(
            "start",
            call=function,
            argv=[sys.executable, *argv],
            modules=[function.partition(":")[0], *modules],
            path=[os.path.abspath(each) for each in sys.path],
            env=self._env,
        )
        return GuestProcess(self, started)

    def wait_file(self, path: str, timeout: float = 60.0, *, containing: str = "") -> None:
        """Until `path` exists in the guest, and holds the text `containing`."""
        answer = self.ask("wait_file", timeout, path=path, containing=containing.encode())
        if "timeout" in answer:
            what = f"no {containing!r} in {path}" if containing else f"no {path}"
            raise GuestTimeoutError(f"{what} after {timeout:g} s")

    def read_file(self, path: str) -> bytes:
        content: bytes = self.ask("read", path=path)["content"]
        return content

    def write_file(self, path: str, content: bytes) -> None:
        """Missing folders are made. Only the guest sees the file, wherever it is."""
        self.ask("write", path=path, content=content)

    def ask(self, operation: str, timeout: float = 0.0, **arguments: object) -> Message:
        """One request to the agent; a guest that does not answer is killed (GuestDiedError)."""
        patience_s = timeout * self._slowdown + ANSWER_GRACE_S * self._slowdown
        if self._machine is None:
            raise LabError(f"{operation} in guest {self.kernel.release}: it is closed")
        try:
            answer = self._channel.request(operation, patience_s, timeout_s=timeout, **arguments)
        except ChannelTimeoutError as error:
            raise self._died(f"no answer to {operation} after {patience_s:g} s") from error
        except ChannelClosedError as error:
            raise self._died(f"QEMU ended during {operation}") from error
        if "error" in answer:
            raise GuestCommandError(f"{operation}: {answer['error']}", self.boot_log)
        ok: Message = answer["ok"]
        return ok

    def close(self) -> None:
        """Kill the virtual machine and tidy up; may be called twice."""
        atexit.unregister(self.close)
        self._channel.close()
        if self._machine is not None:
            self._machine.kill()
            self._machine = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _check_alive(self) -> None:
        if self._machine is not None and (self._machine.panicked() or self._machine.ended()):
            raise self._died("the guest ended")

    def _died(self, what: str) -> GuestDiedError:
        assert self._machine is not None
        self._machine.drain(LAST_WORDS_S)
        if self._machine.panicked():
            what = f"kernel panic; {what}"
        log = self.boot_log
        self.close()
        return GuestDiedError(f"guest {self.kernel.release}: {what}", log)

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _default_environment() -> dict[str, str]:
    programs = os.path.dirname(sys.executable)
    return {
        "PATH": f"{programs}:{SYSTEM_PATH}",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.guest", description=__doc__)
    parser.add_argument("--kernel", default="6.12", choices=sorted(ALL))
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", default="3G")
    parser.add_argument("--icount", action="store_true", help="one CPU, time counts instructions")
    parser.add_argument("--append", action="append", default=[], help="kernel argument")
    parser.add_argument(
        "--timeout", type=float, default=600.0, help="seconds (default %(default)g)"
    )
    parser.add_argument("--boot-log", action="store_true", help="show the console at the end")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(argv)
    try:
        with Guest(
            options.kernel,
            cpus=options.cpus,
            memory=options.memory,
            icount=options.icount,
            kernel_args=options.append,
        ) as guest:
            print(f"[{guest.release}, booted in {guest.boot_s:.1f} s]", file=sys.stderr)
            done = guest.run(" ".join(options.command), options.timeout)
            sys.stdout.write(done.stdout)
            sys.stderr.write(done.stderr)
            if options.boot_log:
                sys.stderr.write(guest.boot_log)
            return done.rc if done.rc >= 0 else 128 - done.rc
    except LabError as error:
        print(error, file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
