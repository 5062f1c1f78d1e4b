# SPDX-License-Identifier: Apache-2.0
"""The package as a library sees it."""

from __future__ import annotations

from importlib import resources

import pytest

import pwru_py
from pwru_py import errors


@pytest.mark.parametrize("name", pwru_py.__all__)
def test_every_name_that_is_offered_is_there(name: str) -> None:
    assert getattr(pwru_py, name) is not None


def test_no_name_is_invented() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = pwru_py.Nothing


def test_every_error_is_offered() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert raised <= set(pwru_py.__all__)


def test_the_types_are_shipped() -> None:
    assert (resources.files(pwru_py) / "py.typed").is_file()
