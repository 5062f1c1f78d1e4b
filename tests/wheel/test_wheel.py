# SPDX-License-Identifier: Apache-2.0
"""``make wheel`` runs these on what it has put into dist/; ``make test`` on a wheel of its own.

The wheel is installed by the Python that runs the tests, and by each one that ``PWRU_PYTHONS``
names (paths, apart by spaces).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest

import pwru_py

PROJECT = Path(__file__).parents[2]
NAME = f"pwru_py-{pwru_py.__version__}"
TAG = f"py3-none-manylinux2014_{platform.machine()}"
PYTHONS = [sys.executable, *os.environ.get("PWRU_PYTHONS", "").split()]
pytestmark = pytest.mark.xdist_group("wheel")

PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")

# Files beside the program, and what prints them.
SHARED = {
    "share/man/man8/pwru-py.8": "--man",
    "share/bash-completion/completions/pwru-py": "--completion bash",
    "share/zsh/site-functions/_pwru-py": "--completion zsh",
    "share/fish/vendor_completions.d/pwru-py.fish": "--completion fish",
}

USER = """
from pwru_py import Config, Event, FilterError, Losses, Plan, PwruError, Summary, Tracer, Tuple


def ends(event: Event) -> tuple[str, str] | None:
    found: Tuple | None = event.tuple
    return (found.saddr, found.daddr) if found else None


def trace(expression: str) -> Summary:
    try:
        tracer = Tracer(Config(filter=expression))
    except FilterError as error:
        raise SystemExit(str(error)) from None
    plan: Plan = tracer.plan()
    with tracer:
        for event in tracer:
            print(event.func, ends(event), len(plan.targets))
    losses: Losses = tracer.losses()
    print(losses.events)
    return tracer.summary
"""


def run(*command: str | Path, **changes: str) -> str:
    """Output of a program that must end well, in the root folder: the tree must not be found."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | changes
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that ``PWRU_WHEEL`` names, else one that is built now."""
    if given := os.environ.get("PWRU_WHEEL"):
        return Path(given).absolute()
    folder = tmp_path_factory.mktemp("wheel")
    # A build writes the objects into its tree, where other tests load them meanwhile.
    tree = shutil.copytree(PROJECT, folder / "tree", ignore=shutil.ignore_patterns(".*", "*.o"))
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder / "dist", tree)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="session", params=PYTHONS)
def bin(
    wheel: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The programs of a fresh environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    run(request.param, "-m", "venv", folder)
    run(folder / "bin" / "python", *PIP, "install", wheel)
    return folder / "bin"


def read(wheel: Path, name: str) -> bytes:
    with ZipFile(wheel) as archive:
        return archive.read(name)


def headers(wheel: Path, name: str) -> Message:
    return HeaderParser().parsestr(read(wheel, f"{NAME}.dist-info/{name}").decode())


def test_its_name_and_tag(wheel: Path) -> None:
    assert wheel.name == f"{NAME}-{TAG}.whl"
    assert headers(wheel, "WHEEL").get_all("Tag") == [TAG]
    assert headers(wheel, "WHEEL")["Root-Is-Purelib"] == "false"


def test_what_it_says_of_itself(wheel: Path) -> None:
    said = headers(wheel, "METADATA")
    assert (said["Name"], said["Version"]) == ("pwru-py", pwru_py.__version__)
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"]
    asked = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = sorted(line.partition(">")[0] for line in asked)
    assert names == ["pcapy-ng", "pyelftools", "pyroute2", "rich"]


def test_it_holds_the_packages_and_what_is_compiled_for_them(wheel: Path) -> None:
    packages = (PROJECT / "pwru_py", PROJECT / "filters" / "pwru_filters")
    tree = {
        str(path.relative_to(package.parent))
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".o")
    }
    lines = read(wheel, "pwru_py/bpf/places.txt").decode().splitlines()
    objects = {f"pwru_py/bpf/{line.split()[0]}.bpf.o" for line in lines}
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith(f"{NAME}.")}
    assert held == tree | objects | {"pwru_py/bpf/places.txt"}
    assert objects
    assert {"pwru_py/py.typed", "pwru_filters/py.typed", "pwru_py/output/schema.json"} < held


def test_it_says_what_it_is_and_under_which_licences(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        about = {name for name in archive.namelist() if name.startswith(f"{NAME}.")}
    licences = ("LICENSE", "LICENSES/BSD-2-Clause.txt", "LICENSES/GPL-2.0-only.txt")
    names = ("METADATA", "WHEEL", "RECORD", *(f"licenses/{name}" for name in licences))
    scripts = {f"{NAME}.data/scripts/{name}" for name in ("pwru-py", "pwru-py-ping")}
    shared = {f"{NAME}.data/data/{name}" for name in SHARED}
    assert about == scripts | shared | {f"{NAME}.dist-info/{n}" for n in names}


def test_a_shell_and_man_find_what_is_installed(bin: Path) -> None:
    for path, flags in SHARED.items():
        assert (bin.parent / path).read_text() == run(bin / "pwru-py", *flags.split())


def test_its_objects_are_for_bpf_and_for_no_machine(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert content.startswith(b"\x7fELF") == name.endswith(".bpf.o"), name
            if name.endswith(".bpf.o"):
                assert int.from_bytes(content[18:20], "little") == 247, name  # EM_BPF


def test_its_filters_go_where_places_says(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    installed = tmp_path / "pwru_py" / "bpf"
    program = (
        "import build, pathlib\n"
        f"for file in pathlib.Path({str(installed)!r}).glob('*.o'):\n"
        "    for name, at, size in build.filter_places(file):\n"
        "        print(file.name.partition('.')[0], name, at, size)\n"
    )
    found = run(sys.executable, "-c", program, PYTHONPATH=str(PROJECT / "bpf"))
    assert sorted(found.split("\n")) == sorted((installed / "places.txt").read_text().split("\n"))


def test_the_program_runs(bin: Path) -> None:
    assert run(bin / "pwru-py", "--version").split() == ["pwru-py", pwru_py.__version__]
    assert "jeq" in run(bin / "pwru-py", "-d", "tcp port 80")


def test_every_module_can_be_imported(bin: Path) -> None:
    program = (
        "import importlib, pkgutil, pwru_filters, pwru_py\n"
        "for name in pwru_py.__all__: getattr(pwru_py, name)\n"
        "for package in (pwru_py, pwru_filters):\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        print(importlib.import_module(found.name).__file__)\n"
    )
    files = run(bin / "python", "-c", program).splitlines()
    assert len(files) > 100
    assert [file for file in files if not Path(file).is_relative_to(bin.parent)] == []


def test_a_user_can_annotate_everything(bin: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir=/dev/null")
    run(*mypy, "--config-file=", "--python-executable", bin / "python", tmp_path / "user.py")
