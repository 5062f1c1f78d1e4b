# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.color import Color
from rich.console import Console

from pwru_py.output import View
from pwru_py.output.table import PALETTE, TableSink, packet_style, terminal_console
from pwru_py.output.widths import cut
from pwru_py.record.event import Losses

from .samples import JOURNEY, LOSSES, SKB, STACK, SUMMARY, TCP4, drop, event

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

GOLDEN = """\
SKB                CPU PROCESS          NETNS      MARK   IFACE        PROTO  MTU   LEN   TUPLE                                                FUNC
0xff286dd140c7e8e8 1   curl:222         4026531840 0      0            0x0000 65536 60    10.0.0.2:45146->1.1.1.1:80(tcp)                      ip_local_out
0xff286dd140c7e8e8 1   curl:222         4026531840 0      eth0:2       0x0800 1500  60    10.0.0.2:45146->1.1.1.1:80(tcp)                      ip_output
0xff286dd140c70100 0   (swapper/0:0)    4026531840 0x4000 eth0:2       0x0806 65536 60    10.0.0.1->10.0.0.2(arp)                              arp_rcv
0xff286dd140c7e8e8 1   curl:222         4026531840 0      0            0x0800 65536 60    10.0.0.2:45146->1.1.1.1:80(tcp)                      sk_skb_reason_drop  NETFILTER_DROP
"""  # noqa: E501


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def console(stream: io.StringIO, width: int = 80, **environ: str) -> Console:
    return Console(
        file=stream,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={"TERM": "xterm-256color", **environ},
    )


def table(width: int = 80, view: View | None = None, **environ: str) -> tuple[TableSink, Terminal]:
    stream = Terminal()
    return TableSink(console(stream, width, **environ), view or View()), stream


def plain(stream: io.StringIO) -> str:
    return ANSI.sub("", stream.getvalue())


def test_golden_80() -> None:
    sink, stream = table(80)
    sink.start()
    sink.events(JOURNEY)
    assert (
        plain(stream)
        == """\
hidden: CPU PROCESS NETNS MARK PROTO MTU LEN (widen or pipe to less -S)
SKB      IFACE    TUPLE                           FUNC
40c7e8e8 0        10.0.0.2:45146->1.1.1.1:80(tcp) ip_local_out
40c7e8e8 eth0:2   10.0.0.2:45146->1.1.1.1:80(tcp) ip_output
40c70100 eth0:2   10.0.0.1->10.0.0.2(arp)         arp_rcv
40c7e8e8 0        10.0.0.2:…->1.1.1.1:80(tcp) sk_skb_reason_drop  NETFILTER_DROP
"""
    )


def test_golden_200() -> None:
    sink, stream = table(200)
    sink.start()
    sink.events(JOURNEY)
    assert plain(stream) == GOLDEN


@pytest.mark.parametrize(("width", "told"), [(200, True), (120, False), (80, False)])
def test_what_a_drop_means_where_there_is_room(width: int, told: bool) -> None:
    sink, stream = table(width, View(drops=True))
    sink.events([drop(), drop(reason_name="NOBODY_KNOWS")])
    lines = plain(stream).splitlines()
    means = "  A netfilter rule, policy or hook dropped the packet."
    assert any(line.endswith(f"NETFILTER_DROP{means}") for line in lines) is told
    assert lines[-1].endswith("NOBODY_KNOWS")
    assert all(len(line) <= width for line in lines)


def test_one_colour_for_a_packet_and_red_for_a_drop() -> None:
    sink, stream = table(80)
    sink.events(JOURNEY)
    first, second, other, dropped = stream.getvalue().splitlines()
    colour = re.match(r"\x1b\[38;5;\d+m", first)
    assert colour is not None
    assert second.startswith(colour[0])
    assert dropped.startswith(colour[0])
    assert not other.startswith(colour[0])
    assert "\x1b[1;31msk_skb_reason_drop\x1b[0m  \x1b[1;7;31mNETFILTER_DROP\x1b[0m" in dropped


def test_packets_spread_over_the_palette() -> None:
    colours = {packet_style(0xFF286DD140C70000 + at * 256) for at in range(100)}
    assert len(colours) == len(PALETTE)


def luminance(number: int) -> float:
    parts = Color.from_ansi(number).get_truecolor().normalized
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("number", PALETTE)
def test_every_colour_reads_on_black_and_on_white(number: int) -> None:
    light = luminance(number) + 0.05
    assert min(light / 0.05, 1.05 / light) >= 3.6


def test_no_color_keeps_drops_apart() -> None:
    sink, stream = table(80, NO_COLOR="1")
    sink.events(JOURNEY)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", stream.getvalue())
    assert "\x1b[1;7mNETFILTER_DROP\x1b[0m" in stream.getvalue()


def test_a_terminal_without_any_style() -> None:
    sink, stream = table(80, TERM="dumb")
    sink.start()
    sink.events(JOURNEY)
    assert "\x1b" not in stream.getvalue()


def test_untrusted_text_is_no_markup() -> None:
    sink, stream = table(200)
    sink.events([event(comm="[red]a[/]:boom:", ifname="[b]", ifindex=3)])
    assert "[red]a[/]:boom::222" in plain(stream)
    assert "[b]:3" in plain(stream)


def test_stack_beneath_the_row_within_the_width() -> None:
    sink, stream = table(80, View(stack=True))
    long = STACK[0]._replace(symbol="s" * 100)
    sink.events([drop(stack=(*STACK, long)), event()])
    _, *frames, _ = plain(stream).splitlines()
    assert frames[1] == "    ipt_do_table+0x1f [ip_tables]"
    assert frames[3] == cut("    " + "s" * 100, 80)


def test_columns_asked_for_have_their_place_in_80_cells() -> None:
    sink, stream = table(80, View(caller=True))
    sink.start()
    sink.events([event(caller=STACK[1])])
    hidden, titles, row = plain(stream).splitlines()
    assert "CALLER" not in hidden
    assert titles.split() == ["SKB", "CALLER", "FUNC"]
    assert row.split() == ["0xff286dd140c7e8e8", "ipt_do_table", "ip_local_out"]
    sink, stream = table(80, View(tunnel=True))
    sink.start()
    sink.events([event(tunnel=TCP4)])
    assert plain(stream).splitlines()[1].split() == ["SKB", "TUNNEL", "FUNC"]


def test_of_structures_nothing_is_cut() -> None:
    sink, stream = table(40, View(cb=True, sk_buff=True))
    sink.events([event(cb=tuple(range(12)), sk_buff=SKB)])
    lines = plain(stream).splitlines()
    assert f"    cb [{','.join(f'0x{n:08x}' for n in range(12))}]" in lines
    assert lines[-4:] == [f"    {line}" for line in SKB.text().split("\n")]


def test_rows_after_a_resize_have_the_new_width() -> None:
    stream = Terminal()
    screen = console(stream, 80)
    sink = TableSink(screen, View())
    sink.start()
    sink.events([event()])
    screen.width = 200
    sink.events([event()])
    sink.events([event()])
    lines = plain(stream).splitlines()
    assert [line.split()[0] for line in lines] == [
        "hidden:", "SKB", "40c7e8e8", "SKB", "0xff286dd140c7e8e8", "0xff286dd140c7e8e8",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [1, 10, 30, 50])
def test_the_smallest_terminals_do_not_fail(width: int) -> None:
    sink, stream = table(width)
    sink.start()
    sink.events(JOURNEY)
    assert "sk_skb_reason_drop  NETFILTER_DROP" in plain(stream)


def test_progress_and_rows_side_by_side() -> None:
    now = [0.0]
    stream = Terminal()
    sink = TableSink(console(stream, 80), View(), clock=lambda: now[0])
    sink.start()
    sink.progress(0, 1502)
    now[0] = 1.0
    sink.progress(312, 1502)
    assert "attaching probes 312/1502" in plain(stream)
    before = len(stream.getvalue())
    sink.progress(313, 1502)
    assert len(stream.getvalue()) == before, "no more than ten redraws a second"
    sink.events([event()])
    row, bar = ANSI.sub("", stream.getvalue()[before:]).replace("\r", "").splitlines()
    assert row.endswith("ip_local_out")
    assert bar.startswith("attaching probes 312/1502")
    assert "\x1b[?25l" not in stream.getvalue().rpartition("\x1b[?25h")[2], "cursor stays"
    sink.progress(1502, 1502)
    ended = len(stream.getvalue())
    sink.events([event()])
    assert "attaching" not in stream.getvalue()[ended:]


def test_finish_takes_the_progress_bar_away() -> None:
    sink, stream = table(80)
    sink.progress(1, 9)
    sink.finish(SUMMARY)
    assert plain(stream).splitlines()[-8:] == [
        "3 packets, 34 events",
        "drops: 18",
        "  12  NETFILTER_DROP",
        "   3  CSUM",
        "   3  NO_SOCKET",
        "lost: 120 events, buffer full: narrow the filter or raise --buffer-size",
        "skipped by the kernel: 7 hits inside another probe",
        "not attached: 12 functions of 1502 (see --debug)",
    ]


def test_losses_while_running() -> None:
    sink, stream = table(80)
    sink.losses(Losses())
    assert stream.getvalue() == ""
    sink.losses(LOSSES)
    sink.losses(LOSSES)
    assert plain(stream).count("lost: 120 events") == 1


class Broken(Terminal):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_errors_of_the_stream_reach_the_caller(error: Callable[[], OSError]) -> None:
    sink = TableSink(terminal_console(Broken(error())), View())
    with pytest.raises(type(error())):
        sink.start()
