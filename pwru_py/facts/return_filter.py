# SPDX-License-Identifier: Apache-2.0
"""``--filter-return``: one comparison with what a function has returned. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import NamedTuple

from ..errors import UsageError
from ..escape import quote
from .returned import ERRNO_NUMBERS, REASON_PREFIXES

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"\s*(==|!=|<=|>=|<|>)?\s*(\S+)\s*")
_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"NULL": 0, "false": 0, "true": 1}


class ReturnFilter(NamedTuple):
    """``name``: an enumerator's, or '': then ``number`` is compared with."""

    operator: str
    number: int
    name: str

    @classmethod
    def parse(cls, text: str) -> ReturnFilter:
        """``< 0``, ``== -EINVAL``, ``!= NULL``, ``NF_DROP``; without an operator ``==``.

        Raises UsageError.
        """
        match = _COMPARISON.fullmatch(text)
        if match is None:
            raise UsageError(
                f"cannot compare with {quote(text)}: give one comparison, as '< 0', '== -EINVAL', "
                "'NF_DROP'"
            )
        sign, word = match[1] or "==", match[2]
        if word in _WORDS:
            return cls(sign, _WORDS[word], "")
        if _NUMBER.fullmatch(word):
            digits = word.lstrip("-").lstrip("0") if "x" not in word.lower() else word.lstrip("-")
            number = int(digits or "0", 0)
            return cls(sign, -number if word.startswith("-") else number, "")
        if word.startswith("-") and word[1:] in ERRNO_NUMBERS:
            return cls(sign, -ERRNO_NUMBERS[word[1:]], "")
        if word in ERRNO_NUMBERS:
            raise UsageError(f"functions return errors below 0: write -{word} for {word}")
        if not _NAME.fullmatch(word):
            raise UsageError(
                f"{quote(word)} is neither a number nor the name of an errno (-EINVAL), of an "
                "enum's value or of a verdict (NF_DROP)"
            )
        if sign not in ("==", "!="):
            raise UsageError(f"{word} is a name: compare it with == or !=")
        return cls(sign, 0, _bare(word))

    def matches(self, number: int | None, text: str) -> bool:
        """Of a ``Value``: nothing never does; a name is compared with what has one."""
        if number is None:
            return False
        if not self.name:
            return _OPERATORS[self.operator](number, self.number)
        name = text.split(" ")[0]
        if not _NAME.fullmatch(name):
            return False
        return (_bare(name) == self.name) == (self.operator == "==")


def _bare(name: str) -> str:
    """Of drop reasons as events show them."""
    return name[len(next(filter(name.startswith, REASON_PREFIXES))) :]
