# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.options.config import Timestamp
from pwru_py.output import View
from pwru_py.output.fields import columns
from pwru_py.output.formats import cell_width
from pwru_py.output.stamp import Stamp
from pwru_py.output.widths import Layout, choose, cut, fit, shorten, wrap

from .samples import FRAGMENT, PING, PING6, TCP4, TCP6, drop, event

LONGEST = TCP6._replace(saddr="2001:db8:1111:2222:3333:4444:5555:6666")


def layout(width: int, view: View | None = None) -> Layout:
    view = view or View()
    return choose(columns(view, Stamp(view.timestamp)), width)


def shown(width: int, view: View | None = None) -> list[str]:
    return [slot.column.title for slot in layout(width, view).slots]


def test_everything_at_200() -> None:
    view = View(tcp_flags=True, timestamp=Timestamp.ABSOLUTE)
    assert layout(200, view).hidden == ()
    assert layout(200).slots[0].width == 18


def test_the_least_wanted_are_left_out_at_80() -> None:
    assert shown(80) == ["SKB", "IFACE", "TUPLE", "FUNC"]
    assert shown(80, View(timestamp=Timestamp.RELATIVE)) == ["SKB", "TIME", "TUPLE", "FUNC"]
    assert layout(80).hidden == ("CPU", "PROCESS", "NETNS", "MARK", "PROTO", "MTU", "LEN")
    assert layout(80).slots[0].width == 8


@given(st.integers(1, 250), st.integers(1, 50))
def test_a_wider_terminal_never_shows_less(width: int, more: int) -> None:
    assert set(shown(width)) <= set(shown(width + more))
    assert shown(width)[-1] == "FUNC"


@given(
    st.integers(60, 250),
    st.sampled_from([TCP4, TCP6, LONGEST, PING, PING6, FRAGMENT, None]),
    st.text("abcdef_", min_size=1, max_size=40),
    st.booleans(),
    st.sampled_from(["curl", "a-name-of-15-ch", "日本日本日"]),
)
def test_no_row_is_wider_than_the_terminal_and_no_function_is_cut(
    width: int, packet: object, func: str, dropped: bool, comm: str
) -> None:
    one = (drop if dropped else event)(tuple=packet, func=func, comm=comm)
    chosen = layout(width)
    cells = [slot.format(one) for slot in chosen.slots]
    row = fit(chosen, cells)
    assert row.func == cells[-1]
    for line in (row.before + row.func).split("\n"):
        assert cell_width(line) <= width


def test_columns_line_up_again_after_a_long_cell() -> None:
    chosen = layout(170)
    cells = [slot.format(event(comm="a-name-of-15-ch")) for slot in chosen.slots]
    row = fit(chosen, cells)
    at = next(slot.start for slot in chosen.slots if slot.column.key == "tuple")
    assert row.before[at:].startswith("10.0.0.2")
    assert len(row.before) == chosen.slots[-1].start


def test_a_long_function_moves_left_then_shortens_the_tuple_then_takes_a_line() -> None:
    chosen = layout(80)
    cells = ["40c7e8e8", "eth0:2", "10.0.0.2:45146->1.1.1.1:80(tcp)", "f" * 30]
    assert fit(chosen, cells).before == "40c7e8e8 eth0:2   10.0.0.2:45146->1.1.1.1:80(tcp) "
    cells[-1] = "f" * 36
    assert fit(chosen, cells).before == "40c7e8e8 eth0:2   10.0.0.…->1.1.1.1:80(tcp) "
    cells[-1] = "f" * 60
    assert fit(chosen, cells).before == "40c7e8e8 eth0:2   10.0.0.2:45146->1.1.1.1:80(tcp)\n    "


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (40, "10.0.0.2:45146->1.1.1.1:80(tcp)"),
        (28, "10.0.0.2:4…->1.1.1.1:80(tcp)"),
        (22, "10.0…->1.1.1.1:80(tcp)"),
        (16, "10.0.0…->1.1.1.…"),
    ],
)
def test_shorten(width: int, text: str) -> None:
    assert shorten("10.0.0.2:45146->1.1.1.1:80(tcp)", width) == text
    assert len(text) <= width


def test_cut_counts_cells() -> None:
    assert cut("日本日本", 5) == "日本…"
    assert cut("abc", 3) == "abc"


def test_a_long_line_is_wrapped_by_words() -> None:
    assert wrap("short", 5, "  ") == "short"
    assert wrap("   one two  three four", 11, "     ") == "   one two\n     three\n     four"
    assert wrap("a 名前 b", 5, " ") == "a\n 名前\n b"
    assert wrap("averylongword and more", 8, "  ") == "averylongword\n  and\n  more"
