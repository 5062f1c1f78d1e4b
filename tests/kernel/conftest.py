# SPDX-License-Identifier: Apache-2.0
"""Kernel tests: every one runs in a guest of every kernel, with real packets made there.

One guest for each kernel, in a pytest-xdist group of its own. Where the lab cannot be had (no
QEMU, no network for kernels) the tests are skipped; with ``CI`` set that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from tests.kernel.lab import Lab
from tests.vm.errors import LabError
from tests.vm.guest import Guest
from tests.vm.installed import tracer_files
from tests.vm.kernels import KERNELS, PROJECT
from tests.vm.memory import keep


def chosen_kernels() -> list[str]:
    wanted = os.environ.get("PWRU_KERNELS", "")
    return [name for name in KERNELS if not wanted or name in wanted.split(",")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On every kernel, or on those that a mark names.

    ``kernels``: the others lack what is tested. ``representative``: a few show it; with
    ``PWRU_SOAK`` all do.
    """
    if "lab" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("kernels")
        if mark is None and not os.environ.get("PWRU_SOAK"):
            mark = metafunc.definition.get_closest_marker("representative")
        names = [name for name in chosen_kernels() if mark is None or name in mark.args]
        metafunc.parametrize("lab", names, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "lab" in callspec.params:
            item.add_marker(pytest.mark.kernel)
            item.add_marker(pytest.mark.xdist_group(f"kernel-{callspec.params['lab']}"))


def boot(kernel: str, *, cpus: int = 2, kernel_args: Sequence[str] = ()) -> Guest:
    """A guest; without one the test is skipped, with ``CI`` set it fails.

    On a machine under load QEMU without KVM may stand still where the second CPU starts (seen with
    7.3): a guest that does not boot is booted once more.
    """
    without_notes = {"PYTHONDONTWRITEBYTECODE": "1"}
    for last in (False, True):
        try:
            return Guest(kernel, cpus=cpus, kernel_args=kernel_args, env=without_notes)
        except LabError as error:
            if last and os.environ.get("CI"):
                raise
            if last:
                pytest.skip(f"no guest: {error}")
    raise AssertionError


@pytest.fixture(autouse=True)
def no_tracer_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "lab" in request.fixturenames:
        lab: Lab = request.getfixturevalue("lab")
        lab.end_tracers()


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A booted guest with the test network; see ``Lab``."""
    with boot(request.param) as guest:
        keep(guest, *tracer_files(PROJECT))  # a start of the tracer takes half as long
        yield Lab(guest, request.param)
