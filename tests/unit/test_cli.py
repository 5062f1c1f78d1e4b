# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pwru_py import session as tracer
from pwru_py.cli import main
from pwru_py.errors import (
    AttachError,
    FeatureUnsupportedError,
    FilterError,
    LoadError,
    NotFoundError,
    OutputError,
    PrivilegeError,
    PwruError,
    UsageError,
)
from pwru_py.plan.functions import Plan, Skipped
from pwru_py.record.event import Losses

from .fake_engine import TARGETS, Kernel, install, packet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name, fake in install(made).items():
        monkeypatch.setattr(tracer, name, fake)
    return made


class Done:
    """A finished run: its status and what it printed."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        self.lines = out.splitlines()
        self.err_lines = err.splitlines()


Run = Callable[..., Done]


@pytest.fixture
def run(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> Run:
    def cli(*argv: str) -> Done:
        status = main(argv)
        sys.stdout.flush()
        assert not kernel.opened, "nothing may be left attached"
        return Done(status, *capfd.readouterr())

    return cli


# Output


def test_text(kernel: Kernel, run: Run) -> None:
    kernel.records = [raw for n in range(2) for raw in packet(n)]
    done = run("-c", "6")
    assert done.status == 0
    assert done.lines[0].split()[:3] == ["SKB", "CPU", "PROCESS"]
    assert [line.split()[10] for line in done.lines[1:]] == [
        "ip_rcv",
        "kfree_skb_reason",
        "kfree_skbmem",
    ] * 2
    assert [line.endswith("NOT_SPECIFIED") for line in done.lines[1:]] == [False, True, False] * 2
    assert "10.0.0.2:45146->1.1.1.1:80(tcp)" in done.lines[1]
    assert done.err_lines[:3] == ["2 packets, 6 events", "drops: 2", "  2  NOT_SPECIFIED"]


def test_habits_of_tcpdump(kernel: Kernel, run: Run, tmp_path: Path) -> None:
    kernel.records = packet()
    (tmp_path / "filter").write_text("tcp # and no more\n")
    done = run("-nqttc3", "-F", str(tmp_path / "filter"))
    assert done.lines[0].split() == ["TIME", "NETNS", "IFACE", "TUPLE", "FUNC"]
    assert [line.split()[-1] for line in done.lines[1:]] == [
        "ip_rcv",
        "NOT_SPECIFIED",
        "kfree_skbmem",
    ]
    assert all(re.match(r"\d+\.\d{9} +\d", line) for line in done.lines[1:])


def test_json(kernel: Kernel, run: Run) -> None:
    kernel.records = packet()
    kernel.losses = Losses(buffer_full=7, recursion=0)
    records = [json.loads(line) for line in run("-c", "3", "--output-json").lines]
    assert [record["type"] for record in records] == ["event"] * 3 + ["lost", "summary"]
    assert [record.get("drop_reason") for record in records[:3]] == [None, "NOT_SPECIFIED", None]
    assert records[-1]["drops"] == {"NOT_SPECIFIED": 1}
    assert records[-1]["losses"]["buffer_full"] == 7


def test_the_limit_cuts_a_batch(kernel: Kernel, run: Run) -> None:
    kernel.records = [raw for n in range(100) for raw in packet(n)]
    done = run("-c", "4")
    assert len(done.lines) == 1 + 4
    assert done.err_lines[0] == "2 packets, 4 events"


def test_the_summary_alone(kernel: Kernel, run: Run) -> None:
    kernel.records = [raw for n in range(2) for raw in packet(n)]
    done = run("-c", "6", "--summary-only")
    assert (done.status, done.out) == (0, "")
    assert done.err_lines[:3] == ["2 packets, 6 events", "drops: 2", "  2  NOT_SPECIFIED"]
    kernel.records = packet()
    (line,) = run("-c", "3", "--summary-only", "--output-json").lines
    assert json.loads(line)["type"] == "summary"
    wrong = run("--drops", "--top", "--count", "3", "--summary-only")
    assert wrong.status == 2
    assert "--count" in wrong.err


def test_a_file(kernel: Kernel, run: Run, tmp_path: Path) -> None:
    kernel.records = packet()
    target = tmp_path / "trace.jsonl"
    done = run("-w", str(target), "-c", "3", "--output-json")
    assert (done.status, done.out) == (0, "")
    assert len(target.read_text().splitlines()) == 4


def test_warnings_losses_and_failures_are_told(kernel: Kernel, run: Run) -> None:
    kernel.records = packet()
    kernel.warnings = ["something to know"]
    kernel.losses = Losses(buffer_full=1234, recursion=None)
    kernel.failed = [(TARGETS[2], errno.EINVAL)]
    done = run("-c", "3", "--debug")
    assert "pwru-py: something to know" in done.err_lines
    assert any(line.startswith("lost: 1234 events, buffer full") for line in done.err_lines)
    assert "not attached: kfree_skbmem: Invalid argument" in done.err_lines
    assert "1234" not in done.out


def test_the_ready_file(kernel: Kernel, run: Run, tmp_path: Path) -> None:
    kernel.records = packet()
    ready = tmp_path / "ready"
    assert run("-c", "1", "--ready-file", str(ready)).status == 0
    assert ready.exists()
    kernel.records = packet()
    done = run("-c", "1", "--ready-file", f"{tmp_path}/absent/ready")
    assert done.status == 1
    assert done.err == (
        f"pwru-py: cannot create ready file {tmp_path}/absent/ready: no such file or directory\n"
    )


# Without tracing


@pytest.mark.parametrize(
    ("flag", "text"), [("--help", "usage: pwru-py"), ("--version", "pwru-py ")]
)
def test_help_and_version(flag: str, text: str, kernel: Kernel, run: Run) -> None:
    done = run(flag)
    assert (done.status, done.err, kernel.steps) == (0, "", [])
    assert done.out.startswith(text)
    assert done.out.endswith("\n")


def test_list_funcs(kernel: Kernel, run: Run) -> None:
    done = run("--list-funcs")
    assert (done.status, kernel.steps) == (0, ["prepare"])
    assert [line.split() for line in done.lines[1:4]] == [
        ["ip_rcv", "1", "vmlinux"],
        ["kfree_skb_reason", "1", "vmlinux"],
        ["kfree_skbmem", "1", "vmlinux"],
    ]
    assert done.lines[4].split(maxsplit=3) == [
        "inlined",
        "-",
        "veth",
        "skipped: not in available_filter_functions",
    ]
    assert [line.split(maxsplit=2)[:2] for line in done.lines[5:]] == [
        [],
        ["SET", "FUNCS"],
        ["@core", "3"],
        ["@journey", "1"],
        ["@drops", "1"],
        ["@netfilter", "0"],
        ["@tcp", "0"],
        ["@udp", "0"],
    ]
    assert done.err == "3 functions, 1 skipped\n"


def test_list_funcs_says_how_arguments_are_known(kernel: Kernel, run: Run) -> None:
    kernel.plan = replace(kernel.plan, sources={"ip_rcv": "by the kernel's headers"})
    done = run("--list-funcs")
    assert done.lines[1].split(maxsplit=3) == ["ip_rcv", "1", "vmlinux", "by the kernel's headers"]
    assert done.lines[2].split(maxsplit=3)[3:] == []


def test_dumping_a_filter_needs_no_kernel(kernel: Kernel, run: Run) -> None:
    done = run("-d", "tcp", "port", "80")
    assert (done.status, done.err, kernel.steps) == (0, "", [])
    assert "ldh" in done.out


@pytest.mark.parametrize("flags", [[], ["-d"], ["--list-funcs"]])
def test_a_wrong_filter_is_told_before_anything_else(
    flags: list[str], kernel: Kernel, run: Run
) -> None:
    done = run(*flags, "tcp porrt 80")
    assert (done.status, done.out, len(done.err_lines), kernel.steps) == (2, "", 1, [])
    assert "Traceback" not in done.err


# Errors

ERRORS: list[tuple[PwruError, int]] = [
    (UsageError("wrong"), 2),
    (FilterError("wrong filter"), 2),
    (NotFoundError("no interface 'eth9'"), 1),
    (PrivilegeError("not root", ("CAP_BPF",)), 1),
    (FeatureUnsupportedError("no BTF", feature="BTF", since="5.2"), 1),
    (LoadError("refused", "the log\nof the verifier\n"), 1),
    (AttachError("nothing attached", errno.EINVAL), 1),
    (OutputError("disk full"), 1),
    (PwruError("anything"), 1),
]


@pytest.mark.parametrize("step", ["prepare", "open", "start", "wait", "read", "pause"])
@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_every_error_is_one_line_and_a_status(
    step: str, error: PwruError, status: int, kernel: Kernel, run: Run
) -> None:
    kernel.records = packet()
    kernel.errors[step] = error
    if step == "open":
        kernel.steps.append("close")  # what failed to open is not open
    done = run("-c", "3")
    assert (done.status, done.err) == (status, f"pwru-py: {error}\n")


def test_debug_shows_the_traceback_and_the_whole_log(kernel: Kernel, run: Run) -> None:
    kernel.errors["start"] = LoadError("refused", "the log\nof the verifier\n")
    done = run("--debug")
    assert done.err_lines[0] == "Traceback (most recent call last):"
    assert done.err_lines[-3:] == ["the log", "of the verifier", "pwru-py: refused"]


def test_wrong_flags(kernel: Kernel, run: Run) -> None:
    done = run("--output-stac")
    assert (done.status, done.out, kernel.steps) == (2, "", [])
    assert done.err == (
        "pwru-py: unknown flag --output-stac: did you mean --output-stack? (see --help)\n"
    )


def test_nothing_to_trace(kernel: Kernel, run: Run) -> None:
    kernel.plan = Plan((), (Skipped("inlined", "", "not in kallsyms"),))
    done = run("--filter-func", "inlined")
    assert (done.status, len(done.err_lines)) == (1, 1)
    assert "cannot trace inlined: not in kallsyms" in done.err
    kernel.plan = Plan((), ())
    for flags in ([], ["--list-funcs"]):
        done = run("--filter-func", "tpc_.*", *flags)
        assert (done.status, done.out, len(done.err_lines)) == (1, "", 1)
        assert "no function that takes an sk_buff matches 'tpc_.*'" in done.err


@pytest.mark.parametrize(
    ("name", "text"),
    [("absent/out", "no such file or directory"), (".", "is a directory")],
)
def test_a_file_that_cannot_be_written(
    name: str, text: str, kernel: Kernel, run: Run, tmp_path: Path
) -> None:
    done = run("-w", f"{tmp_path}/{name}")
    assert done.status == 1
    assert "start" not in kernel.steps
    assert done.err == (
        f"pwru-py: cannot write to {tmp_path}/{name}: {text}: choose another --output-file\n"
    )


def test_a_full_disk(kernel: Kernel, run: Run) -> None:
    kernel.records = packet()
    done = run("-w", "/dev/full", "-c", "3")
    assert done.status == 1
    assert done.err == (
        "pwru-py: cannot write to /dev/full: the disk is full, "
        "the whole lines written before stay\n"
    )


# As a process


def start(
    packets: int,
    *argv: str,
    stdout: int = subprocess.PIPE,
    preexec_fn: Callable[[], object] | None = None,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.fake_engine", str(packets), *argv],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=preexec_fn,
        text=True,
    )


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    process = start(3000)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr
    assert (process.stderr.read(), process.wait(30)) == ("", 0)
    process.stderr.close()


@pytest.mark.parametrize("argv", [["-c", "3"], ["--help"], ["--list-funcs"]])
def test_a_full_disk_behind_standard_output(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = start(1, *argv, stdout=full.fileno())
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == (
        "pwru-py: cannot write to standard output: the disk is full, "
        "the whole lines written before stay\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("argv", "text"),
    [([], "ip_rcv"), (["--output-stack"], "nf_hook_slow+0x"), (["--output-json"], '"ip_rcv"')],
)
def test_a_signal_ends_it_in_order(number: signal.Signals, argv: list[str], text: str) -> None:
    process = start(5, *argv)
    assert process.stdout
    assert process.stderr
    first = process.stdout.readline()
    os.kill(process.pid, number)
    out, err = first + process.stdout.read(), process.stderr.read()
    assert process.wait(30) == 0
    assert out.count(text) >= 5, "what was recorded before the signal is shown"
    assert "15 events" in err.splitlines()[0]
    process.stdout.close()
    process.stderr.close()


def test_a_signal_while_nothing_comes() -> None:
    process = start(0)
    assert process.stdout
    process.stdout.readline()
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.splitlines()[0]) == (0, "0 packets, 0 events")


def test_several_hangups_are_one_end() -> None:
    process = start(5)
    assert process.stdout
    process.stdout.readline()
    for _ in range(5):
        os.kill(process.pid, signal.SIGHUP)
    # Not communicate(): it knows nothing of what readline() has read ahead.
    assert process.stderr
    out, err = process.stdout.read(), process.stderr.read()
    assert (process.wait(30), out.count("\n")) == (0, 15)
    assert err.splitlines()[0] == "5 packets, 15 events"


def test_a_hangup_that_is_ignored_stays_so() -> None:
    """As nohup(1) starts it."""
    process = start(0, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stdout
    process.stdout.readline()
    os.kill(process.pid, signal.SIGHUP)
    os.kill(process.pid, signal.SIGQUIT)
    assert process.stderr
    assert process.stderr.readline().startswith("pwru-py: 0 packets")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    process.communicate()


def test_a_quit_signal_asks_where_the_session_is() -> None:
    process = start(5)
    assert process.stdout
    assert process.stderr
    for _ in range(16):
        process.stdout.readline()
    for _ in range(2):
        os.kill(process.pid, signal.SIGQUIT)
        said = process.stderr.readline()
        assert said.startswith("pwru-py: 5 packets, 15 events; nothing lost; attached to "), said
        assert said.endswith(" of 3 functions\n")
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_python_imports(number: signal.Signals) -> None:
    """At each of many moments from the script's first line on; before, Python has the signals."""
    code = (
        "import sys; from importlib import abc\n"
        "class Watch(abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        print(name, flush=True); sys.stdin.readline()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "sys.argv = ['pwru-py', '-d', 'tcp']\n"
        "exec(open('bin/pwru-py').read())\n"
    )
    for after in (0, 1, 5, 20):
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        for _ in range(after):
            process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline()
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=30)
        assert err == ""
        assert process.returncode in (0, -number)


# Streams that are closed or full


def shell(command: str, packets: int = 1) -> subprocess.CompletedProcess[str]:
    words = f"{sys.executable} -m tests.unit.fake_engine {packets} {command}"
    return subprocess.run(["sh", "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_without_standard_error_it_traces(streams: str) -> None:
    done = shell(f"-c 3 --output-json {streams}")
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == [
        "event", "event", "event", "summary"
    ]  # fmt: skip


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_a_file_with_standard_streams_closed(streams: str, tmp_path: Path) -> None:
    """No file of ours has the number of one, so nothing else is written to it."""
    target = tmp_path / "trace"
    assert shell(f"-c 3 -w {target} {streams}").returncode == 0
    lines = target.read_text().splitlines()
    assert len(lines) == 4
    assert [line.split()[0] for line in lines[:2]] == ["SKB", "0xffff888000000000"]


@pytest.mark.parametrize("argv", ["-c 1", "--help", "--list-funcs", "-d tcp"])
def test_standard_output_that_is_closed(argv: str) -> None:
    done = shell(f"{argv} >&-")
    assert done.returncode == 1
    assert done.stderr.startswith("pwru-py: standard output is closed: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("redirection", ["-w {}", ">{}", ">>{}", "-w /dev/stdout >>{}"])
def test_a_file_that_may_not_grow_ends_with_a_whole_line(redirection: str, tmp_path: Path) -> None:
    target = tmp_path / "trace"
    target.write_text("earlier\n")
    where = redirection.format(target)
    done = subprocess.run(
        ["bash", "-c", "ulimit -f 10; exec "
         f"{sys.executable} -m tests.unit.fake_engine 1000 --output-json -c 3000 {where}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "file too large" in done.stderr
    text = target.read_text()
    assert 9000 < len(text) <= 10240
    assert text.endswith("}\n")
    assert text.startswith("earlier\n") == (">>" in redirection)
    assert all(json.loads(line) for line in text.splitlines() if line != "earlier")


def test_explain(run: Run) -> None:
    done = run("--explain", "netfilter_drop")
    assert (done.status, done.lines[0]) == (0, "NETFILTER_DROP")
    done = run("--explain", "NETFILTR_DROP")
    assert done.status == 1
    assert "did you mean NETFILTER_DROP" in done.err_lines[0]
    assert run("--explain", "list", "--list-funcs").status == 2
