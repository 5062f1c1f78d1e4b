# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pwru_py.errors import FeatureUnsupportedError, NotFoundError, PrivilegeError
from pwru_py.kernel import system
from pwru_py.kernel.system import missing_capabilities

from .btf_builder import Builder

STATUS = b"Name:\tpython\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t%016x\n"
ADMIN, SYSLOG, PERFMON, BPF = (1 << bit for bit in (21, 34, 38, 39))


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        (0x000001FFFFFFFFFF, ()),
        (ADMIN, ()),
        (BPF | PERFMON | SYSLOG, ()),
        (BPF | PERFMON, ("CAP_SYSLOG",)),
        (SYSLOG, ("CAP_BPF", "CAP_PERFMON")),
        (0, ("CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG")),
    ],
)
def test_missing_capabilities(effective: int, missing: tuple[str, ...]) -> None:
    assert missing_capabilities(STATUS % effective) == missing


@pytest.mark.parametrize("status", [b"", b"CapEff:\n", b"CapEff:\tnothing\n", b"Name:\tCapEff\n"])
def test_a_status_that_says_nothing(status: bytes) -> None:
    assert len(missing_capabilities(status)) == 3


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Stands for /proc and /sys."""
    found = {"/proc/self/status": STATUS % ADMIN}
    monkeypatch.setattr(system, "read", found.get)
    monkeypatch.setattr("pwru_py.kernel.system.os.path.exists", found.__contains__)
    return found


def test_privileges(files: dict[str, bytes]) -> None:
    system.check_privileges()
    files[system.LOCKDOWN] = b"none [integrity] confidentiality\n"
    system.check_privileges()
    files[system.LOCKDOWN] = b"none integrity [confidentiality]\n"
    with pytest.raises(PrivilegeError, match="the kernel is locked down"):
        system.check_privileges()


@pytest.mark.parametrize(("uid", "who"), [(1000, "not root"), (0, "root without capabilities")])
def test_what_is_missing_is_named(
    uid: int, who: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    files["/proc/self/status"] = STATUS % BPF
    monkeypatch.setattr("pwru_py.kernel.system.os.geteuid", lambda: uid)
    with pytest.raises(PrivilegeError) as raised:
        system.check_privileges()
    assert str(raised.value) == (
        f"cannot trace: {who}, missing CAP_PERFMON, CAP_SYSLOG (or CAP_SYS_ADMIN): run it with sudo"
    )
    assert raised.value.missing == ("CAP_PERFMON", "CAP_SYSLOG")


def test_btf_of_the_kernel(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(FeatureUnsupportedError, match=r"no BTF .* `kernel_btf`.* `engine` out"):
        system.vmlinux_btf()
    b = Builder()
    b.func("ip_rcv", b.ptr(b.struct("sk_buff")))
    files[system.VMLINUX_BTF] = b.raw()
    assert system.vmlinux_btf().function("ip_rcv")
    given = tmp_path / "btf"
    given.write_bytes(b.raw())
    assert system.vmlinux_btf(str(given)).function("ip_rcv")
    files[system.VMLINUX_BTF] = b.raw() + b"\0"
    with pytest.raises(FeatureUnsupportedError, match="is not the BTF of this kernel"):
        system.vmlinux_btf(str(given))


@pytest.mark.parametrize(
    ("name", "text"),
    [("absent", "no such file or directory"), (".", "is a directory")],
)
def test_a_btf_file_that_cannot_be_read(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"^cannot read BTF from .*: {text}$"):
        system.vmlinux_btf(f"{tmp_path}/{name}")


@pytest.fixture
def modules(files: dict[str, bytes]) -> Callable[..., list[str]]:
    base = Builder()
    base.struct("sk_buff")
    files["/proc/modules"] = b"".join(
        b"%s 16384 1 - Live 0x0000000000000000\n" % name
        for name in (b"veth", b"nf_nat", b"no_btf", b"damaged")
    )
    for name in ("veth", "nf_nat"):
        module = Builder(base)
        module.func(f"{name}_func", module.ptr(1))
        files[f"/sys/kernel/btf/{name}"] = module.raw()
    files["/sys/kernel/btf/damaged"] = b"\x9f\xeb\x01"
    files["/sys/kernel/btf/not_loaded"] = b""

    def names(*wanted: str, every: bool = False) -> list[str]:
        return [btf.name for btf in system.module_btfs(base.btf(), wanted, every)]

    return names


def test_modules(modules: Callable[..., list[str]]) -> None:
    assert modules() == []
    assert modules("veth", "nf-nat", "nf_nat") == ["veth", "nf_nat"]
    assert modules(every=True) == ["nf_nat", "veth"], "those that have readable BTF"
    assert modules("veth", every=True) == ["nf_nat", "veth"]


@pytest.mark.parametrize("place", ["/sys/module/ipv6", "builtin"])
def test_a_module_that_is_built_in(
    place: str, modules: Callable[..., list[str]], files: dict[str, bytes]
) -> None:
    if place == "builtin":
        place = f"/lib/modules/{os.uname().release}/modules.builtin"
    files[place] = b"kernel/net/ipv6/ipv6.ko\nkernel/net/nf-x.ko\n"
    files["/sys/module/veth"] = files["/sys/module/.."] = b""
    assert modules("ipv6", "veth") == ["veth"]
    assert system.built_in(("ipv6", "veth", "ipv6", "absent", "..", "/")) == ["ipv6"]


def test_modules_that_cannot_be_traced(modules: Callable[..., list[str]]) -> None:
    with pytest.raises(NotFoundError, match=r"module absent is not loaded: .* modprobe absent"):
        modules("absent")
    with pytest.raises(NotFoundError, match="module not_loaded is not loaded"):
        modules("not_loaded")
    with pytest.raises(FeatureUnsupportedError, match="module no_btf has no BTF"):
        modules("no_btf", every=True)
    with pytest.raises(FeatureUnsupportedError, match="BTF of damaged is cut short"):
        modules("damaged")


def test_tracefs_may_be_mounted_in_two_places(files: dict[str, bytes]) -> None:
    assert system.tracefs_file("available_filter_functions") is None
    files["/sys/kernel/debug/tracing/available_filter_functions"] = b"old\n"
    assert system.tracefs_file("available_filter_functions") == b"old\n"
    files["/sys/kernel/tracing/available_filter_functions"] = b"new\n"
    assert system.tracefs_file("available_filter_functions") == b"new\n"


def test_kprobes(files: dict[str, bytes]) -> None:
    assert system.kprobe_pmu() is None
    files[system.KPROBE_PMU] = b"8\n"
    assert system.kprobe_pmu() == 8


def test_what_may_not_be_read_is_absent(tmp_path: Path) -> None:
    assert system.read(f"{tmp_path}/absent") is None
    assert system.read(str(tmp_path)) is None
