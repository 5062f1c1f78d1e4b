# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from pwru_py.errors import UsageError
from pwru_py.facts.conntrack import CtState
from pwru_py.options.config import Backend, Config, Mark, Transport


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("0", Mark(0)),
        ("10", Mark(10, 0xFFFFFFFF)),
        ("0x10", Mark(16)),
        ("0XfF/0x0F", Mark(255, 15)),
        ("4294967295/4294967295", Mark(0xFFFFFFFF)),
        ("1/0", Mark(1, 0)),
    ],
)
def test_marks(text: str, mark: Mark) -> None:
    assert Mark.parse(text) == mark


@pytest.mark.parametrize("text", ["", "red", "1/", "/1", "1/2/3", "0x", "1.5", "ff", "010"])
def test_marks_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read mark"):
        Mark.parse(text)


@pytest.mark.parametrize("text", ["4294967296", "-1", "1/0x100000000", "1/-1"])
def test_marks_that_do_not_fit(text: str) -> None:
    with pytest.raises(UsageError, match="does not fit 32 bits"):
        Mark.parse(text)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"buffer_bytes": 0}, "buffer of 0 bytes is impossible"),
        ({"buffer_bytes": 2048}, "buffer of 2048 bytes is impossible"),
        ({"buffer_bytes": 5000}, "buffer of 5000 bytes is impossible"),
        ({"buffer_bytes": 1 << 32}, "from 4096 to 2147483648"),
        ({"track_entries": 0}, "from 1 to 16777216"),
        ({"track_entries": 1 << 25}, "from 1 to 16777216"),
        ({"limit_events": -1}, "a limit of -1 events is impossible"),
        ({"filter_func": "tcp(v4"}, "cannot read the pattern 'tcp"),
    ],
)
def test_impossible_sessions(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text) as raised:
        Config(**changes)
    assert raised.value.exit_status == 2


def test_the_ends_of_the_ranges() -> None:
    assert Config(buffer_bytes=4096, track_entries=1).limit_events == 0
    assert Config(buffer_bytes=1 << 31, track_entries=1 << 24).filter == ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"filter": None}, "`filter` must be text, not NoneType"),
        ({"filter": b"icmp"}, "`filter` must be text, not bytes"),
        ({"filter": "icmp\0"}, "`filter` holds a zero byte: 'icmp\\x00'"),
        ({"kernel_btf": "\ud800"}, "`kernel_btf` holds half a character: '\\ud800'"),
        ({"filter_mark": 5}, "`filter_mark` must be a Mark or None, not int"),
        ({"filter_ct_mark": 5}, "`filter_ct_mark` must be a Mark or None, not int"),
        ({"filter_ct_state": "new"}, "`filter_ct_state` must be a tuple of names, not str"),
        ({"filter_ct_state": ("NEW",)}, "`filter_ct_state` cannot be 'NEW': give one of none, "),
        ({"kmods": "veth"}, "`kmods` must be a tuple of names, not str"),
        ({"kmods": ("veth", 5)}, "`kmods` must be text, not int"),
        ({"all_kmods": 1}, "`all_kmods` must be True or False, not int"),
        ({"limit_events": True}, "`limit_events` must be a whole number, not bool"),
        ({"buffer_bytes": 65536.0}, "`buffer_bytes` must be a whole number, not float"),
        ({"backend": "nosuch"}, "`backend` cannot be 'nosuch': give one of auto, kprobe, "),
        ({"backend": []}, "`backend` cannot be '[]'"),
        ({"transport": None}, "`transport` cannot be 'None': give one of auto, ring, queue"),
    ],
)
def test_values_of_the_wrong_type(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as raised:
        Config(**changes)
    assert str(raised.value).startswith(text)


@pytest.mark.parametrize("numbers", [("5", 1), (5, None), (1.5, 1)])
def test_marks_of_the_wrong_type(numbers: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        Mark(*numbers)


def test_words_and_lists_become_what_they_mean() -> None:
    config = Config(backend="kprobe", transport="queue", kmods=["veth"])  # type: ignore[arg-type]
    assert config.backend is Backend.KPROBE
    assert config.transport is Transport.QUEUE
    assert config.kmods == ("veth",)
    states = Config(filter_ct_state=["new"]).filter_ct_state  # type: ignore[arg-type]
    assert states == (CtState.NEW,)
    assert states[0] is CtState.NEW


def test_drops_are_told_by_one_tracepoint_alone() -> None:
    assert Config(drops=True, backend=Backend.TRACEPOINT).drops
    for other in (
        {"filter_func": "ip_rcv"},
        {"backend": Backend.KPROBE},
        {"with_tracepoints": True},
    ):
        with pytest.raises(
            UsageError, match="leave `filter_func`, `with_tracepoints` and `backend`"
        ):
            Config(drops=True, **other)
    with pytest.raises(UsageError, match="give both"):
        Config(drops=True, flows=True)


def test_what_cannot_be_asked_of_frames_at_xdp() -> None:
    assert Config(filter_trace_xdp=True, filter="icmp", filter_ifname="eth0", filter_track_skb=True)
    asked: dict[str, Any] = {
        "filter_mark": Mark(1), "filter_ct_state": (CtState.NEW,), "filter_ct_mark": Mark(0),
        "filter_cgroup": "/a", "filter_pid": 7, "filter_comm": "nc", "filter_tunnel_l2": "arp",
        "filter_tunnel_l3": "icmp",
    }  # fmt: skip
    for name, value in asked.items():
        assert Config(filter_trace_tc=True, **{name: value})
        with pytest.raises(UsageError, match=f"leave `filter_trace_xdp` or `{name}` out"):
            Config(filter_trace_xdp=True, **{name: value})
    fields: list[dict[str, Any]] = [
        {"filter_xdp_expr": "xdp->data"},
        {"output_xdp_metadata": ("xdp->data",)},
    ]
    for each in fields:
        assert Config(filter_trace_xdp=True, filter_skb_expr="skb->mark", **each)
        with pytest.raises(UsageError, match="give `filter_trace_xdp` with them"):
            Config(filter_trace_tc=True, **each)


def test_values_of_fields_are_of_events() -> None:
    values = ("skb->mark",)
    assert Config(journey=True, output_conntrack=True)
    with pytest.raises(UsageError, match="leave `output_conntrack` out"):
        Config(drops=True, top=True, output_conntrack=True)
    assert Config(drops=True, filter_skb_expr="skb->mark", output_skb_metadata=values)
    sessions: list[dict[str, Any]] = [{"journey": True}, {"drops": True, "top": True}]
    for counted in sessions:
        assert Config(filter_skb_expr="skb->mark", **counted)
        with pytest.raises(UsageError, match="`output_skb_metadata` is of events"):
            Config(output_skb_metadata=values, **counted)


@pytest.mark.parametrize("text", ["@core", "fib_("])
def test_functions_without_an_sk_buff_are_read_at_once(text: str) -> None:
    with pytest.raises(UsageError):
        Config(filter_non_skb_funcs=("fib_lookup", text))
    assert Config(filter_non_skb_funcs=("@inside", "fib_.*")).traces_inside
