# SPDX-License-Identifier: Apache-2.0
"""Completion as a shell does it, and the manual page as man(1) shows it.

bash is everywhere. zsh and fish are Debian's, in the lab.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pwru_py import offers as module
from pwru_py.cli import main
from pwru_py.offers import offers
from pwru_py.options.completion import script
from pwru_py.options.config import Backend, Timestamp
from pwru_py.options.flags import FILES, FLAGS, Shell
from pwru_py.options.manual import manual
from tests.vm.shells import fetch_shell

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
NAMES = [name for flag in FLAGS for name in flag.names]


def has(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


# What is offered


def test_names_that_a_shell_reads_nothing_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may call an interface in a namespace of their own what they like."""
    for name in ("eth0", "e1.100", "$(reboot)", "`id`", "a b", "x;y", "-rf", "é", "w\x1b[2J"):
        (tmp_path / name).touch()
    monkeypatch.setitem(module._KINDS, "ifname", lambda: os.listdir(tmp_path))
    assert offers("ifname", "") == ["e1.100", "eth0"]
    assert offers("ifname", "eth") == ["eth0"]
    assert offers("ifname", "x") == []


def test_what_this_machine_has() -> None:
    assert "lo" in offers("ifname", "l")
    assert offers("netns", "no-such-namespace") == []
    assert "NETFILTER_DROP" in offers("explained", "NETF")
    assert offers("nothing", "") == []
    assert offers("func", "@n") == ["@netfilter"]
    assert offers("func", "@x") == []
    if os.access("/sys/kernel/btf/vmlinux", os.R_OK):
        functions = offers("func", "ip_rc")
        assert "ip_rcv" in functions
        assert all(name.startswith("ip_rc") for name in functions)


def test_the_command_that_scripts_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--complete", "explained", "NETFILTER_D"]) == 0
    assert capsys.readouterr().out == "NETFILTER_DROP\n"
    assert main(["--complete"]) == 0
    assert main(["--complete", "nothing", "x"]) == 0
    assert capsys.readouterr().out == ""


def test_every_kind_that_a_flag_names_is_known() -> None:
    kinds = {flag.completes for flag in FLAGS if isinstance(flag.completes, str)}
    assert kinds == {*module._KINDS, FILES, ""}


# bash


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self._pid, self._fd = pty.fork()
        if not self._pid:
            environment = {"PATH": PATH, "TERM": "dumb", "PS1": "% ", "HOME": "/nonexistent"}
            os.execvpe(command[0], command, environment)

    def type(self, text: str, until: str) -> str:
        """What it shows from then on; ``until``: a pattern that must come."""
        os.write(self._fd, text.encode())
        shown, end = "", time.monotonic() + 20
        while not re.search(until, shown):
            assert time.monotonic() < end, f"{until!r} did not come: {shown!r}"
            if select.select([self._fd], [], [], 0.1)[0]:
                shown += os.read(self._fd, 65536).decode()
        return shown

    def close(self) -> None:
        os.close(self._fd)
        os.waitpid(self._pid, 0)


@pytest.fixture(scope="module")
def completion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "script"
    path.write_text(script(Shell.BASH))
    return path


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--output-js", r"--output-json "),
        ("--backend kprobe-", r"kprobe-multi "),
        ("--backend=fe", r"--backend=fentry-multi "),
        ("-i l", r"-i lo "),
        ("--filter-ifname=l", r"--filter-ifname=lo "),
        ("icmp --explain NETFILTER_D", r"NETFILTER_DROP "),
        ("--timestamp epo", r"epoch "),
        ("portr", r"portrange "),
        ("--filter-func @netf", r"@netfilter "),
        ("--filter-func=@netf", r"=@netfilter "),
        ("-w /etc/hostn", r"/etc/hostname "),
        ("-F /etc/hostn", r"/etc/hostname "),
        ("-c /etc/hostn", r"hostn\x07"),  # a number is no file
    ],
)
def test_bash_on_a_terminal(completion: Path, typed: str, expected: str) -> None:
    terminal = Terminal("bash", "--norc", "--noprofile", "-i")
    try:
        terminal.type(f"source {completion}; PS1='ready> '\n", r"ready> $")
        assert terminal.type(f"pwru-py {typed}\t", expected)
    finally:
        terminal.close()


def bash(completion: Path, *words: str) -> list[str]:
    """COMPREPLY for the last word."""
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        '_pwru_py pwru-py "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2>/dev/null;'
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    command = ["bash", "-c", program, "bash", str(completion), "pwru-py", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": PATH}, timeout=60
    )
    return done.stdout.split()


def test_bash_knows_every_flag_and_word(completion: Path) -> None:
    assert bash(completion, "-") == NAMES
    assert bash(completion, "--backend", "") == [*Backend]
    assert bash(completion, "--timestamp", "=", "") == [*Timestamp]
    assert bash(completion, "--timestamp", "=") == [*Timestamp]
    assert bash(completion, "--output-json", "ic") == ["icmp", "icmp6"]
    assert bash(completion, "--count", "") == []
    assert bash(completion, "--explain", "NETFILTER_D") == ["NETFILTER_DROP"]


def test_bash_completes_the_last_of_several(completion: Path) -> None:
    modules = offers("module", "")
    if modules:
        assert f"x,{modules[0]}" in bash(completion, "--kmods", f"x,{modules[0][:1]}")
    assert bash(completion, "--kmods", "x,no_such_module") == []


# zsh and fish


def test_zsh_and_fish_have_every_flag() -> None:
    zsh, fish = script(Shell.ZSH), script(Shell.FISH)
    for flag in FLAGS:
        for name in flag.names:
            pattern = rf"^        '(\*|\([^)]*\))?{name}[=+]?\[[^\n]*\](:[^:\n]*:[^\n]*)?' \\$"
            assert re.search(pattern, zsh, re.MULTILINE), name
            spelled = rf"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            assert re.search(rf"^complete -c pwru-py .*{spelled} .*-d '", fish, re.MULTILINE), name
    assert zsh.startswith("#compdef pwru-py\n")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--output-js", r"--output-json"),
        ("--backend kprobe-", r"kprobe-multi"),
        ("--backend=fe", r"--backend=fentry-multi"),
        ("-i l", r"-i lo"),
        ("icmp --explain NETFILTER_D", r"NETFILTER_DROP"),
        ("-w /etc/hostn", r"/etc/hostname"),
        ("portr", r"portrange"),
        ("--filter-func @netf", r"@netfilter"),
    ],
)
def test_zsh_on_a_terminal(tmp_path: Path, typed: str, expected: str) -> None:
    (tmp_path / "_pwru-py").write_text(script(Shell.ZSH))
    shell = fetch_shell("zsh")
    functions = f"{tmp_path} {shell.root}/usr/share/zsh/functions/**/*(/)"
    terminal = Terminal(str(shell.program), "-f", "-i")
    try:
        begin = f"fpath=({functions}); autoload -U compinit; compinit -u -D; PS1='ready> '\n"
        terminal.type(begin, r"ready> [^']*$")
        assert terminal.type(f"pwru-py {typed}\t", expected)
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--output-js", ["--output-json"]),
        ("--backend kprobe-", ["kprobe-multi"]),
        ("--backend=fe", ["--backend=fentry-multi"]),
        ("-i l", ["lo"]),
        ("--filter-ifname=l", ["--filter-ifname=lo"]),
        ("icmp --explain NETFILTER_D", ["NETFILTER_DROP"]),
        ("-w /etc/hostn", ["/etc/hostname"]),
        ("portr", ["portrange"]),
    ],
)
def test_fish(tmp_path: Path, typed: str, expected: list[str]) -> None:
    (tmp_path / "script").write_text(script(Shell.FISH))
    program = f"source {tmp_path}/script; complete -C 'pwru-py {typed}'"
    shell = fetch_shell("fish")
    environment = {"PATH": PATH, "HOME": str(tmp_path), **shell.environment}
    command = [str(shell.program), "--no-config", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected


# The manual page


def test_the_manual_page_is_sound() -> None:
    """A lint of what man(7) knows; groff itself is asked where it is."""
    page = manual()
    macros = {line.split(" ")[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert macros <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".I", ".RI", ".BR"}
    assert page.isascii()
    assert not re.search(r"(?<!\\)-", re.sub(r"\\-", "", page)), "a hyphen would be no minus"
    assert set(re.findall(r"\\(.)", page)) <= set("-fe(&")
    heads = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert heads[:4] == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"]
    assert heads[-1] == "SEE ALSO"
    assert ".B @core\nthe main way in and out, layer by layer\n" in page


@has("man")
@has("groff")
def test_man_shows_every_flag() -> None:
    page = manual()
    warned = subprocess.run(["groff", "-ww", "-z", "-man", "-Tutf8"], input=page,
                            capture_output=True, text=True, check=True)  # fmt: skip
    assert warned.stderr == ""
    wide = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    shown = subprocess.run(["man", "-l", "-"], input=page, capture_output=True, text=True,
                           check=True, env=wide)  # fmt: skip
    text = re.sub(".\b", "", shown.stdout)
    assert all(len(line) <= 80 for line in text.splitlines())
    for flag in FLAGS:
        spelled = re.escape(f"{', '.join(flag.names)} {flag.metavar}".strip())
        assert re.search(rf"^ +{spelled}(  |$)", text, re.MULTILINE), spelled
        assert flag.help in re.sub(r"\s+", " ", text)


def test_both_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--man"]) == 0
    assert capsys.readouterr().out == manual()
    for shell in Shell:
        assert main(["--completion", shell]) == 0
        assert capsys.readouterr().out == script(shell)
    assert main(["--completion", "csh"]) == 2
    assert "unknown word 'csh': give one of bash, zsh, fish" in capsys.readouterr().err
