# SPDX-License-Identifier: Apache-2.0
"""The virtual machine as a process: virtme-ng's command line, the console, the end of it all."""

from __future__ import annotations

import contextlib
import functools
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.vm.errors import LabError
from tests.vm.kernels import Kernel

PORT = "pwru.lab"
QEMU = "qemu-system-x86_64"
# One thread for all virtual CPUs: QEMU before 8.1 loses races with the kernel patching its own code
# (ftrace, kprobes), and the guest dies of `Oops: int3`. It boots no slower and suffers less from a
# busy host. Four-level page tables are cheaper to emulate than five.
EMULATION = "-accel tcg,thread=single -cpu max,la57=off"
# Two network cards on one wire, old ones, whose driver takes packets in the hard interrupt. Nothing
# drives them until `modprobe ne2k-pci`.
WIRE = tuple(
    option
    for n in (0, 1)
    for option in (
        f"-netdev hubport,id=wire{n},hubid=0",
        f"-device ne2k_pci,netdev=wire{n},mac=02:00:00:00:0e:0{n}",
    )
)
# init_on_alloc clears a megabyte for each 9p request; an oops is a failed test, not a log line.
BOOT_ARGS = ("init_on_alloc=0", "oops=panic")
TERM_GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the guest is built of. `icount`: one CPU whose clock counts instructions."""

    cpus: int = 2
    memory: str = "3G"
    icount: bool = False

    def qemu_options(self, kvm: bool) -> list[str]:
        options = [] if kvm else [EMULATION]
        return [*options, "-icount shift=0,sleep=off"] if self.icount else options


def vng_command(
    kernel: Kernel,
    hardware: Hardware,
    directory: Path,
    extra_kernel_args: tuple[str, ...],
    *,
    kvm: bool,
) -> list[str]:
    """virtme-ng's command to boot `kernel`, run the agent and connect it to the host.

    `directory` holds the listening socket `s`, and gets the compiled agent.
    """
    here = Path(__file__).resolve().parent
    python = os.path.realpath(sys.executable)
    agent = py_compile.compile(f"{here}/agent.py", f"{directory}/agent.pyc", doraise=True)
    channel = [
        f"-chardev socket,id=lab,path={directory}/s",
        "-device virtio-serial-pci,id=labbus",
        f"-device virtserialport,bus=labbus.0,chardev=lab,name={PORT}",
    ]
    kernel_args = [*BOOT_ARGS, *(() if kvm else kernel.boot_args), *extra_kernel_args]
    return [
        _vng(),
        "--force-9p",
        "--disable-microvm",
        *([] if kvm else ["--disable-kvm"]),
        "--verbose",
        *("--run", str(kernel.image)),
        *("--memory", hardware.memory),
        *("--cpus", "1" if hardware.icount else str(hardware.cpus)),
        *("--append", " ".join(kernel_args)),
        *("--exec", f"sh {here}/init.sh {python} {agent} {PORT}"),
        f"--qemu-opts={' '.join(hardware.qemu_options(kvm) + channel + [*WIRE])}",
    ]


class Machine:
    """A running virtme-ng with its children in one process group; the console is kept."""

    def __init__(self, command: list[str], directory: Path) -> None:
        programs = f"{Path(command[0]).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": programs, "TMPDIR": str(directory)},
            start_new_session=True,
        )
        self._console = bytearray()
        self._drain = threading.Thread(target=self._read_console, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """The process group's id too."""
        return self._process.pid

    @property
    def console(self) -> str:
        return self._console.decode(errors="replace").replace("\r", "")

    def panicked(self) -> bool:
        return b"Kernel panic" in self._console

    def ended(self) -> bool:
        return self._process.poll() is not None

    def drain(self, timeout_s: float) -> None:
        """Wait for the last words on the console."""
        self._drain.join(timeout_s)

    def kill(self) -> None:
        """End the whole process group: gently, so that virtme tidies up, then by force."""
        for signo in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signo)
            self.drain(TERM_GRACE_S)  # the console ends when the last of them is gone
            if not self._drain.is_alive():
                break
        self._process.wait(TERM_GRACE_S)

    def _read_console(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._console += chunk


@functools.cache
def kvm_usable() -> bool:
    """Whether QEMU can make a virtual CPU with KVM: a /dev/kvm that opens is not enough."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    probe = [QEMU, "-machine", "q35,accel=kvm", "-cpu", "host", "-nodefaults", "-S"]
    probe += ["-display", "none", "-monitor", "stdio"]
    try:
        done = subprocess.run(probe, input=b"quit\n", capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _vng() -> str:
    beside = Path(sys.executable).parent / "vng"
    found = str(beside) if beside.exists() else shutil.which("vng")
    if found is None:
        raise LabError("boot a guest: virtme-ng is not installed; pip install virtme-ng")
    return found
