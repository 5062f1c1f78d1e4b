# SPDX-License-Identifier: Apache-2.0
"""Native tests: on the running kernel, by its tracepoints, in namespaces made for them.

They need root and cookies of raw tracepoints (Linux 6.10), and are skipped elsewhere: the guests'
tests show the same there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pwru_py.facts.features import Features
from pwru_py.kernel import system
from tests.native.net import Net


def why_not() -> str:
    if os.geteuid():
        return "needs root"
    if not Features.of(system.vmlinux_btf("")).tracepoint_cookies:
        return "this kernel has no cookies of raw tracepoints (Linux 6.10)"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "net" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("native"))


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    """Three namespaces in a row; see ``Net``."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Net() as made:
        yield made
