# SPDX-License-Identifier: Apache-2.0
"""What ``import pwru_py`` gives: everything that a user of the library needs to name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

import pwru_py
from pwru_py import errors


@pytest.mark.parametrize("name", pwru_py.__all__)
def test_every_name_that_is_promised_is_there(name: str) -> None:
    assert getattr(pwru_py, name)
    assert name in dir(pwru_py)


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        getattr(pwru_py, "Motor")  # noqa: B009


def test_every_error_can_be_caught_by_name() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.PwruError)
    }
    assert defined <= set(pwru_py.__all__)


def _classes(hint: Any) -> Iterator[type]:
    """The classes that an annotation names, those in brackets too."""
    if isinstance(hint, type):
        yield hint
    for part in get_args(hint):
        yield from _classes(part)


def _annotated(cls: type) -> Iterator[Any]:
    """What the public fields, methods and properties of a class are annotated with."""
    yield from get_type_hints(cls).values()
    for name, member in inspect.getmembers(cls):
        if isinstance(member, property) and member.fget:
            member = member.fget
        if inspect.isroutine(member) and hasattr(member, "__code__") and name[:1] != "_":
            yield from get_type_hints(member).values()


@pytest.mark.parametrize(
    "cls", [c for name in pwru_py.__all__ if isinstance(c := getattr(pwru_py, name), type)]
)
def test_everything_that_a_public_type_hands_out_can_be_named(cls: type) -> None:
    named = {found for hint in _annotated(cls) for found in _classes(hint)}
    ours = {c.__name__ for c in named if c.__module__.startswith("pwru")}
    assert ours <= set(pwru_py.__all__)
