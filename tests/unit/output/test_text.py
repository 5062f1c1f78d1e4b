# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import io
import subprocess
import sys
from datetime import UTC

import pytest

from pwru_py.options.config import Timestamp
from pwru_py.output import View, text_sink
from pwru_py.output.text import CACHE_ENTRIES, keep
from pwru_py.record.event import DroppedBy, Event, Losses, MapAccess, Returned, SkbValue, Verdict

from .samples import JOURNEY, LOSSES, SKB, STACK, SUMMARY, TCP4, TCP6, drop, event

GOLDEN = """\
SKB                CPU PROCESS          NETNS      MARK   IFACE        PROTO  MTU   LEN   TUPLE                                  FUNC
0xff286dd140c7e8e8 1   curl:222         4026531840 0      0            0x0000 65536 60    10.0.0.2:45146->1.1.1.1:80(tcp)        ip_local_out
0xff286dd140c7e8e8 1   curl:222         4026531840 0      eth0:2       0x0800 1500  60    10.0.0.2:45146->1.1.1.1:80(tcp)        ip_output
0xff286dd140c70100 0   (swapper/0:0)    4026531840 0x4000 eth0:2       0x0806 65536 60    10.0.0.1->10.0.0.2(arp)                arp_rcv
0xff286dd140c7e8e8 1   curl:222         4026531840 0      0            0x0800 65536 60    10.0.0.2:45146->1.1.1.1:80(tcp)        sk_skb_reason_drop  NETFILTER_DROP
"""  # noqa: E501

GOLDEN_WITH_TIME = """\
SKB                CPU PROCESS          TIME                             TUPLE                                          FUNC
0xff286dd140c7e8e8 1   curl:222         2026-11-20T09:23:46.123456+00:00 10.0.0.2:45146->1.1.1.1:80(tcp:SYN,ACK)        ip_local_out
"""  # noqa: E501


def show(batch: list[Event], view: View) -> str:
    stream = io.StringIO()
    sink = text_sink(stream, view, tz=UTC)
    sink.start()
    sink.events(batch)
    sink.finish(SUMMARY)
    return stream.getvalue()


def test_golden() -> None:
    assert show(JOURNEY, View()) == GOLDEN


def test_golden_with_time_and_without_meta() -> None:
    view = View(meta=False, tcp_flags=True, timestamp=Timestamp.ABSOLUTE)
    assert show(JOURNEY[:1], view) == GOLDEN_WITH_TIME


def test_functions_lie_in_one_another() -> None:
    view = View(meta=False, tuple=False, returns=True)
    batch = [
        event(func="outer"),
        event(func="inner", depth=1),
        event(func="inner", depth=1, returned=Returned(-1, "-EPERM", 870)),
        event(func="void", depth=1, returned=Returned(None, "", 4_560_000)),
        event(func="outer", returned=Returned(0, "NF_DROP", 1_200_000_000)),
    ]
    assert (
        show(batch, view)
        == """\
SKB                CPU PROCESS          FUNC
0xff286dd140c7e8e8 1   curl:222         outer
0xff286dd140c7e8e8 1   curl:222          inner
0xff286dd140c7e8e8 1   curl:222          ← inner = -EPERM  870 ns
0xff286dd140c7e8e8 1   curl:222          ← void  4.6 ms
0xff286dd140c7e8e8 1   curl:222         ← outer = NF_DROP  1.2 s
"""
    )


def test_the_rule_that_dropped_a_packet_stands_below_it() -> None:
    by = DroppedBy(Verdict("", "filter", "", "INPUT", "DROP"), 3, "DENY", "-A DENY -j DROP")
    view = View(meta=False, tuple=False, stack=True, rules=True)
    assert (
        show([drop(dropped_by=by, stack=STACK[:1]), drop(dropped_by=by._replace(rule=4))], view)
        == """\
SKB                CPU PROCESS          FUNC
0xff286dd140c7e8e8 1   curl:222         sk_skb_reason_drop  NETFILTER_DROP
    table filter, INPUT, rule 3 of chain DENY: -A DENY -j DROP
    nf_hook_slow+0xab
0xff286dd140c7e8e8 1   curl:222         sk_skb_reason_drop  NETFILTER_DROP
    table filter, INPUT, rule 4 of chain DENY: -A DENY -j DROP
"""
    )


def test_values_of_field_expressions_have_a_column_each() -> None:
    view = View(
        meta=False, tuple=False, skb_metadata=("skb->mark", "skb->dev->name", "skb->dev->up")
    )
    made = [
        tuple(map(SkbValue, view.skb_metadata, values))
        for values in ((16, "eth0", True), (0, None, False), (5000000, "a-name-of-15-ch", None))
    ]
    assert show([event(skb_metadata=values) for values in made], view) == (
        "SKB                CPU PROCESS          mark   dev->name dev->up FUNC\n"
        "0xff286dd140c7e8e8 1   curl:222         16     eth0      true    ip_local_out\n"
        "0xff286dd140c7e8e8 1   curl:222         0      -         false   ip_local_out\n"
        "0xff286dd140c7e8e8 1   curl:222         5000000 a-name-of-15-ch -       ip_local_out\n"
    )


def test_golden_columns_asked_for() -> None:
    view = View(meta=False, caller=True, tunnel=True, tcp_flags=True, sk_buff=True, cb=True)
    told = event(caller=STACK[1], tunnel=TCP4, tunnel_flags=2, cb=(1, 0xABC), sk_buff=SKB)
    assert (
        show([told, event()], view)
        == """\
SKB                CPU PROCESS          TUPLE                                          TUNNEL                                         CALLER                             FUNC
0xff286dd140c7e8e8 1   curl:222         10.0.0.2:45146->1.1.1.1:80(tcp:SYN,ACK)        10.0.0.2:45146->1.1.1.1:80(tcp:SYN)            ipt_do_table+0x1f [ip_tables]      ip_local_out
    cb [0x00000001,0x00000abc]
    (struct sk_buff){
     .len = (unsigned int)60,
     .cloned = (__u8)0x1,
    }
0xff286dd140c7e8e8 1   curl:222         10.0.0.2:45146->1.1.1.1:80(tcp:SYN,ACK)                                                                                          ip_local_out
"""  # noqa: E501
    )


def test_golden_stack() -> None:
    batch = [drop(stack=STACK), event()]
    assert (
        show(batch, View(meta=False, tuple=False, stack=True))
        == """\
SKB                CPU PROCESS          FUNC
0xff286dd140c7e8e8 1   curl:222         sk_skb_reason_drop  NETFILTER_DROP
    nf_hook_slow+0xab
    ipt_do_table+0x1f [ip_tables]
    0xffffffff81aaaaaa
0xff286dd140c7e8e8 1   curl:222         ip_local_out
"""
    )


def test_what_is_too_long_pushes_and_is_not_cut() -> None:
    long = event(comm="a-name-of-15-ch", pid=4194304, tuple=TCP6._replace(saddr="2001:db8:" * 4))
    line = show([long], View(timestamp=Timestamp.RELATIVE)).splitlines()[1]
    assert " a-name-of-15-ch:4194304 0 " in line
    assert line.endswith("(tcp) ip_local_out")


@pytest.mark.parametrize("mode", list(Timestamp))
@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("addresses", [True, False])
def test_rows_line_up_with_the_header(mode: Timestamp, meta: bool, addresses: bool) -> None:
    view = View(meta=meta, tuple=addresses, timestamp=mode)
    header, *rows = show(JOURNEY, view).splitlines()
    at = header.index("FUNC")
    for row, shown in zip(rows, JOURNEY, strict=True):
        assert row[at:].startswith(shown.func)
        assert row == row.rstrip()


def test_kept_text_is_never_another_events() -> None:
    """Every field differs in turn; a line must be as if it were the only one."""
    changes = {"skb": 1, "cpu": 0, "pid": 9, "comm": "x", "context": 1, "func": "f", "netns": 1,
               "mark": 1, "ifindex": 3, "ifname": "lo", "proto": 1, "mtu": 1, "len": 1,
               "tuple": TCP6, "tcp_flags": 1, "reason": 3, "stack": STACK}  # fmt: skip
    batch = [event(), *(event(**{name: value}) for name, value in changes.items())]
    view = View(tcp_flags=True, stack=True)
    alone = ["".join(show([one], view).splitlines(keepends=True)[1:]) for one in batch]
    assert len(set(alone)) == len(batch)
    together = show(batch + batch[::-1], view).splitlines(keepends=True)[1:]
    assert "".join(together) == "".join(alone + alone[::-1])


def test_kept_text_is_bounded() -> None:
    asked: list[int] = []

    def write(one: Event) -> str:
        asked.append(one.cpu)
        return str(one.cpu)

    piece = keep(lambda one: one.cpu, write, 2)
    assert [piece(event(cpu=cpu)) for cpu in (1, 2, 1, 3, 3, 1)] == list("121331")
    assert asked == [1, 2, 3, 1]
    assert CACHE_ENTRIES < 100_000


def test_losses_are_said_once_a_second_and_only_when_they_rise() -> None:
    stream, notices, now = io.StringIO(), io.StringIO(), [0.0]
    sink = text_sink(stream, View(), notices=notices, clock=lambda: now[0])
    for now[0], lost in [(0, 0), (1, 5), (1.5, 6), (2.5, 6), (2.6, 7), (9, 7)]:
        sink.losses(Losses(buffer_full=lost))
    lines = notices.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["5", "6", "7"]
    assert lines[0] == "lost: 5 events, buffer full: narrow the filter or raise --buffer-size"
    assert stream.getvalue() == ""


def test_without_a_place_for_notices_nothing_is_said() -> None:
    stream = io.StringIO()
    sink = text_sink(stream, View())
    sink.losses(LOSSES)
    sink.progress(1, 2)
    assert stream.getvalue() == ""


def test_a_full_disk_is_left_to_the_caller() -> None:
    with open("/dev/full", "w") as full:
        sink = text_sink(full, View())
        with pytest.raises(OSError, match="No space") as raised:
            sink.start()
        assert raised.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="No space"):
            full.close()


def test_rich_is_not_imported_for_text_and_json() -> None:
    code = (
        "import sys; import pwru_py.options, pwru_py.output as o; v = o.View();"
        "o.text_sink(sys.stdout, v); o.json_sink(sys.stdout, v); print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_bpf_map_has_a_line_beneath() -> None:
    view = View(meta=False, tuple=False, returns=True, maps=True)
    asked = MapAccess(12, "services", 6, 600, b"\x0a\0\0\1\0\x50", None)
    batch = [
        event(func="htab_map_lookup_elem", depth=1, inside=True, bpf_map=asked),
        event(
            func="htab_map_lookup_elem",
            depth=1,
            inside=True,
            bpf_map=asked._replace(value=b"\xff" * 5),
            returned=Returned(None, "0xffff", 870),
        ),
        event(func="trie_delete_elem", bpf_map=MapAccess(7, "", 4, 4, None, None)),
        event(func="ip_rcv"),
    ]
    tails = [line[len(line) - len(line.lstrip(" ")) :] for line in show(batch, view).splitlines()]
    assert [line for line in tails if line.startswith("map")] == [
        "map 12 services: key 0a000001 0050",
        "map 12 services: key 0a000001 0050, value ffffffff ff…",
        "map 7",
    ]
