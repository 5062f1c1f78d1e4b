# SPDX-License-Identifier: Apache-2.0
"""What the running system says of itself: files under /sys and /proc, read whole."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from itertools import islice

from ..arch import ARCHITECTURES, SUPPORTED
from ..errors import FeatureUnsupportedError, NotFoundError, PrivilegeError, reason
from ..facts.btf import Btf, raw_btf

VMLINUX_BTF = "/sys/kernel/btf/vmlinux"
TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
FTRACE = "available_filter_functions"
KPROBE_PMU = "/sys/bus/event_source/devices/kprobe/type"
FTRACE_ENABLED = "/proc/sys/kernel/ftrace_enabled"
KPROBES_ENABLED = "/sys/kernel/debug/kprobes/enabled"
BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"
KALLSYMS = "/proc/kallsyms"
MODULES = "/sys/module"  # loaded ones, and of those built in the ones with parameters
LOCKDOWN = "/sys/kernel/security/lockdown"

_FIRST_SYMBOLS = 4096  # per-CPU variables come before the text

# include/uapi/linux/capability.h
CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 21, 24, 34, 38, 39


def _read_bytes(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def read(path: str) -> bytes | None:
    """The file's bytes, None when it is absent or may not be read."""
    try:
        return _read_bytes(path)
    except OSError:
        return None


def addresses_visible() -> bool:
    """Whether this process may see where kernel functions are; some first symbols are at 0."""
    try:
        with open(KALLSYMS, "rb") as stream:
            text = stream.read(4096)
    except OSError:
        return False
    return any(int(line[:16] or b"0", 16) for line in text.splitlines()[:-1])


def symbols_among(names: Collection[str]) -> set[str]:
    """Those that are symbols of the kernel itself, whatever they are."""
    wanted = {name.encode() + b"\n": name for name in names}
    try:
        with open(KALLSYMS, "rb", buffering=1 << 18) as stream:
            return {wanted[name] for line in stream if (name := line[19:]) in wanted}
    except OSError:
        return set()


def text_start() -> int | None:
    """Where this boot has put the kernel's text; None when that is hidden."""
    try:
        with open(KALLSYMS, "rb") as stream:
            for line in islice(stream, _FIRST_SYMBOLS):
                if line[19:] == b"_stext\n":
                    return int(line[:16], 16) or None
    except OSError:
        pass
    return None


def _effective(status: bytes) -> int:
    found = re.search(rb"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def has_capability(number: int) -> bool:
    """Whether this process has the capability."""
    return bool(_effective(read("/proc/self/status") or b"") >> number & 1)


def missing_capabilities(status: bytes) -> tuple[str, ...]:
    """What a process with this ``/proc/PID/status`` lacks for tracing."""
    effective = _effective(status)
    if effective >> CAP_SYS_ADMIN & 1:
        return ()
    needed = {"CAP_BPF": CAP_BPF, "CAP_PERFMON": CAP_PERFMON, "CAP_SYSLOG": CAP_SYSLOG}
    return tuple(name for name, number in needed.items() if not effective >> number & 1)


def check_privileges() -> None:
    """Raises PrivilegeError that names what is missing; FeatureUnsupportedError elsewhere."""
    if not SUPPORTED:
        raise FeatureUnsupportedError(
            f"cannot trace on {os.uname().machine}: pwru-py knows {', '.join(ARCHITECTURES)} alone",
            feature="architecture",
        )
    missing = missing_capabilities(read("/proc/self/status") or b"")
    if missing:
        who = "not root" if os.geteuid() else "root without capabilities"
        raise PrivilegeError(
            f"cannot trace: {who}, missing {', '.join(missing)} (or CAP_SYS_ADMIN): "
            "run it with sudo",
            missing,
        )
    if b"[confidentiality]" in (read(LOCKDOWN) or b""):
        raise PrivilegeError(
            "cannot trace: the kernel is locked down (confidentiality), BPF may not read its "
            "memory: boot with lockdown=integrity or none"
        )


def file_btf(path: str) -> bytes:
    """What a file holds, see ``raw_btf``. Raises FeatureUnsupportedError, NotFoundError."""
    try:
        return raw_btf(_read_bytes(path), path)
    except OSError as error:
        raise NotFoundError(f"cannot read BTF from {path}: {reason(error)}") from None


def vmlinux_btf(path: str = "") -> Btf:
    """The kernel's BTF, from ``path`` when given. Raises FeatureUnsupportedError, NotFoundError."""
    own = read(VMLINUX_BTF)
    if path:
        raw = file_btf(path)
        if own is not None and raw != own:
            raise FeatureUnsupportedError(
                f"{path} is not the BTF of this kernel, it differs from {VMLINUX_BTF}: "
                "leave `kernel_btf` out",
                feature="BTF",
            )
        return Btf(raw, name=path)
    if own is None:
        raise FeatureUnsupportedError(
            f"this kernel has no BTF ({VMLINUX_BTF}): give a file for exactly this kernel as "
            "`kernel_btf`, raw or vmlinux with a .BTF section, or leave `engine` out",
            feature="BTF",
            since="5.2",
        )
    return Btf(own)


def has_own_btf() -> bool:
    """Whether the kernel tells its types itself."""
    return os.access(VMLINUX_BTF, os.R_OK)


def loaded_modules() -> set[str]:
    """Names of loaded modules, as in /proc/modules."""
    text = read("/proc/modules") or b""
    return {line.split(b" ", 1)[0].decode() for line in text.splitlines()}


def built_in(names: Iterable[str]) -> list[str]:
    """Those of the names that are no modules here, but part of the kernel: modules(5)."""
    loaded = loaded_modules()
    listed = read(f"/lib/modules/{os.uname().release}/modules.builtin") or b""
    within = {line.rpartition(b"/")[2].removesuffix(b".ko") for line in listed.splitlines()}
    within = {name.replace(b"-", b"_") for name in within}
    return [
        name
        for name in dict.fromkeys(_symbol_name(name) for name in names)
        if re.fullmatch(r"\w+", name)
        and name not in loaded
        and (name.encode() in within or os.path.exists(f"{MODULES}/{name}"))
    ]


def _symbol_name(module: str) -> str:
    return module.replace("-", "_")


def module_btfs(base: Btf, names: tuple[str, ...], every: bool) -> list[Btf]:
    """Split BTF of the named modules, but for those built in, or of every loaded one that has it.

    Of every one, those whose BTF cannot be read are left out: it need not fit ``base``.
    Raises NotFoundError, FeatureUnsupportedError.
    """
    loaded = loaded_modules()
    within = built_in(names)
    wanted = [name for name in map(_symbol_name, names) if name not in within]
    for name in wanted:
        if name not in loaded:
            raise NotFoundError(f"module {name} is not loaded: load it with modprobe {name}")
        if not has_module_btf(name):
            raise FeatureUnsupportedError(
                f"module {name} has no BTF: its functions cannot be traced",
                feature="module BTF",
                since="5.11",
            )
    chosen = sorted(loaded) if every else dict.fromkeys(wanted)
    btfs = []
    for name in chosen:
        raw = read(f"/sys/kernel/btf/{name}")
        if raw is None:
            continue
        try:
            btfs.append(Btf(raw, base, name))
        except FeatureUnsupportedError:
            if not every:
                raise
    return btfs


def has_module_btf(name: str) -> bool:
    return os.path.exists(f"/sys/kernel/btf/{name}")


def tracefs_file(name: str) -> bytes | None:
    """A file of tracefs, wherever it is mounted; None when it cannot be had."""
    for root in TRACEFS:
        text = read(f"{root}/{name}")
        if text is not None:
            return text
    return None


def writable_tracefs() -> str:
    """Where kprobe events may be defined in functions that ftrace lists; '' for nowhere."""
    for root in TRACEFS:
        if os.access(f"{root}/kprobe_events", os.W_OK) and os.access(f"{root}/{FTRACE}", os.R_OK):
            return root
    return ""


def kprobes_disarmed() -> bool:
    """Whether somebody has switched all kprobes off."""
    return (read(KPROBES_ENABLED) or b"1").strip() == b"0"


def ftrace_disabled() -> bool:
    """Whether somebody has switched ftrace off: what is probed through it is never hit then."""
    return (read(FTRACE_ENABLED) or b"1").strip() == b"0"


def kprobe_pmu() -> int | None:
    """The perf event type of kprobes; None when the kernel has none."""
    text = read(KPROBE_PMU)
    return int(text) if text else None
