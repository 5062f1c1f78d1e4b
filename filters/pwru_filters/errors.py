# SPDX-License-Identifier: Apache-2.0
"""The errors of the filter compiler.

FilterError
 |-- FilterSyntaxError       libpcap does not accept the expression
 |-- FilterUnsupportedError  libpcap accepts it, a tracer cannot run it
 `-- FilterTooLargeError     it compiles to more instructions than there is room for
"""

from __future__ import annotations


class FilterError(Exception):
    """A filter expression cannot be used; the message is one line for the user."""


class FilterSyntaxError(FilterError):
    """libpcap refuses the expression.

    text: libpcap's own words. column: 1-based, None where libpcap gives no place (it never does).
    """

    def __init__(self, text: str, column: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.column = column


class FilterUnsupportedError(FilterError):
    """The expression is valid but has no meaning, or no translation, inside the kernel.

    what: the thing that is not supported. why: the reason. remedy: what to write instead.
    """

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(f"{what} is not supported: {why}; {remedy}")
        self.what = what
        self.why = why
        self.remedy = remedy


class FilterTooLargeError(FilterError):
    """The program does not fit. size, limit: in `unit` (eBPF instructions, or what it says)."""

    def __init__(self, size: int, limit: int, unit: str = "eBPF instructions") -> None:
        super().__init__(
            f"filter compiles to {size} {unit}, the limit is {limit}: shorten the expression, "
            "for example one net in place of many hosts"
        )
        self.size = size
        self.limit = limit
        self.unit = unit
