# SPDX-License-Identifier: Apache-2.0
"""Every expression's verdict on live packets is libpcap's on the frame that tcpdump captures.

One traffic for all: every expression has a tracer and, where frames have a link layer, sockets
with libpcap's own cBPF (``filter_network.py``, ``inside/``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

import pytest

from tests.kernel.filter_cases import BEFORE_LENGTH, EXPRESSIONS, PAYLOAD, READ_LENGTH
from tests.kernel.filter_network import EXACT, SETUP, TEARDOWN
from tests.kernel.filter_verdicts import NOISE, TRANSMIT, Observation, Seen, Wire
from tests.kernel.inside.traffic import raw_frames
from tests.kernel.lab import Lab
from tests.vm.headers import forget_made, keep_made, own_and_made

RECEIVE = "__netif_receive_skb"
# The payload is in pages there: see test_payload_in_pages.
PLAIN = set(PAYLOAD)
BY_HEADERS = ("5.10", "6.1")
"""Kernels where filters are tried with types by the kernel's headers, too."""


@pytest.fixture(scope="module")
def observed(lab: Lab) -> Iterator[Observation]:
    done = lab.run(SETUP, timeout=120)
    assert done.rc == 0, done.stdout + done.stderr
    by_headers = lab.kernel in BY_HEADERS
    if by_headers:
        keep_made(lab.guest, own_and_made(lab.kernel)[1])
    engine = "bcc" if by_headers else ""
    done = lab.run(f"python -m tests.kernel.inside.filters {engine}", timeout=300)
    assert done.rc == 0, done.stderr
    if by_headers:
        forget_made(lab.guest)
    yield Observation(json.loads(done.stdout))
    lab.run(TEARDOWN)


def stack_places(
    seen: Observation, functions: Collection[str], ports: Collection[str] = ()
) -> dict[Seen, set[bytes]]:
    """Packets of the stacks in these functions, with what tcpdump saw of them."""
    return {
        event: frames
        for function in functions
        for event in seen.events(function)
        if (not ports or event.interface in ports) and (frames := seen.frames(event))
    }


def test_sockets_and_libpcap_agree(observed: Observation) -> None:
    """The kernel's cBPF sees a frame without the tag beside it; otherwise verdicts are alike."""
    assert len(EXPRESSIONS) >= 60
    wires = [(n, w) for n, w in enumerate(observed.wires) if w.frame.port in EXACT]
    for expression in (*EXPRESSIONS, *PAYLOAD):
        passed = set(observed.passed.get(expression, ()))
        expected = {n for n, w in wires if observed.verdict(expression, w.untagged)}
        assert passed == expected, expression
    assert sum(len(passed) for passed in observed.passed.values()) > 5000


@pytest.mark.parametrize(
    ("function", "port"), [(TRANSMIT, "p0"), (RECEIVE, "p1"), ("tcf_classify", "p1")]
)
def test_raw_frames(observed: Observation, function: str, port: str) -> None:
    """Sending, receiving, and behind the place where a tag moves beside the packet."""
    sent = raw_frames()
    wires = observed.on(port, outgoing=port == "p0")
    assert [w.whole[:400] for w in wires] == [frame[:400] for frame in sent]
    if port == "p1":
        assert sum(w.tagged for w in wires) > 40
    # 5.10 has a tcf_classify_ingress of its own.
    names = {function, f"{function}_ingress"}
    places = {
        seen: [sent[seen.mark - 1]]
        for seen in observed.everything
        if seen.function in names and seen.mark
    }
    assert sorted(seen.mark for seen in places) == list(range(1, len(sent) + 1))
    assert {seen.interface for seen in places} == {port}
    observed.judge(places).holds(2000, 10000)


@pytest.mark.parametrize(("function", "port"), [(TRANSMIT, "p0"), (RECEIVE, "p1")])
def test_the_sets_are_the_sockets(observed: Observation, function: str, port: str) -> None:
    """Without a detour over user land, for frames that the kernel's cBPF sees whole."""
    first = next(n for n, w in enumerate(observed.wires) if w.frame.port == port)
    whole = {
        n - first + 1: n
        for n, w in enumerate(observed.wires)
        if w.frame.port == port and not w.tagged
    }
    for expression in EXPRESSIONS:
        shown = {
            seen.mark
            for seen in observed.shown[expression]
            if seen.function == function and seen.interface == port
        }
        passed = set(observed.passed.get(expression, ()))
        assert shown & set(whole) == {m for m, n in whole.items() if n in passed}, expression


def of_type(kind: int) -> Callable[[Wire], bool]:
    return lambda wire: not wire.in_vlan and wire.untagged[12:14] == kind.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("function", "ports", "kind"),
    [
        ("ip_finish_output2", ("sa", "sb", "sa.7", "sb.q.7"), 0x800),
        ("ip6_finish_output2", ("sa", "sb", "sa.7", "sb.q.7"), 0x86DD),
        ("arp_xmit", ("sb",), 0x806),
    ],
)
def test_before_the_link_header_all_that_leave(
    observed: Observation, function: str, ports: Collection[str], kind: int
) -> None:
    """Exactly the packets that the sockets saw leave, at the last place without a header."""
    for port in ports:
        wires = observed.on(port, outgoing=True)
        left = Counter(wire.packet for wire in wires if of_type(kind)(wire))
        passed: Counter[str] = Counter()
        for seen, times in observed.events(function, port).items():
            passed[observed.packet(seen)] += times
        assert passed == left, port
        assert left
    places = stack_places(observed, [function], ports)
    observed.judge(places, PLAIN).holds(10 if function == "arp_xmit" else 200, 50)


@pytest.mark.parametrize("function", ["__ip_local_out", "ip_output", "ip6_local_out"])
def test_before_the_link_header(observed: Observation, function: str) -> None:
    events = observed.events(function)
    unseen = [seen for seen in events if not observed.frames(seen)]
    # Datagrams of 4 kB left in fragments, and are seen as such further down.
    assert len(unseen) == 1, unseen
    assert all(int(seen.packet.rpartition(" ")[2]) > 4000 for seen in unseen), unseen
    leave_out = {*PLAIN, *(READ_LENGTH if function in BEFORE_LENGTH else ())}
    observed.judge(stack_places(observed, [function]), leave_out).holds(300, 1500)


PORTS = {
    "ethernet": ("sa", "sb"),
    "vlan": ("sa.7", "sb.7"),
    "qinq": ("sa.q", "sb.q", "sa.q.7", "sb.q.7"),
    "ipip": ("fi", "gi"),
    "sit": ("fs", "gs"),
    "tun": ("ft",),
    "wireguard": ("fw",),
    "lo": ("lo",),
}


@pytest.mark.parametrize("kind", PORTS)
def test_interfaces(observed: Observation, kind: str) -> None:
    """Every frame that leaves an interface, or that a driver hands over, whatever its link."""
    for port in PORTS[kind]:
        assert observed.on(port, outgoing=True)
        for outgoing, function in ((True, TRANSMIT), (False, RECEIVE)):
            wires = observed.on(port, outgoing=outgoing)
            if not outgoing and "." in port:
                continue  # the same run of __netif_receive_skb serves the VLAN
            handed: Counter[str] = Counter()
            for seen, times in observed.events(function, port).items():
                if ">255.255.255.255 " not in seen.packet or port == "sb" or outgoing:
                    handed[observed.packet(seen)] += times
            assert handed == Counter(wire.packet for wire in wires), (port, function)
    places = stack_places(observed, [TRANSMIT, RECEIVE], PORTS[kind])
    observed.judge(places, PLAIN).holds(30, 100)


@pytest.mark.parametrize("function", ["ip_local_deliver", "ip6_input"])
def test_receiving_side_behind_the_link_layer(observed: Observation, function: str) -> None:
    """The link header is still there, unless a tunnel or a layer without one was in between."""
    places = stack_places(observed, [function])
    assert {seen.interface for seen in places} >= {"sb", "sb.7", "sb.q.7", "lo", "ft"}
    observed.judge(places, PLAIN).holds(300, 1500)


def shown_packets(observed: Observation, expression: str, function: str, *ports: str) -> int:
    return sum(
        times
        for seen, times in observed.shown[expression].items()
        if seen.function == function and seen.interface in ports and not seen.mark
    )


def test_what_the_traffic_holds(observed: Observation) -> None:
    """That the cases are there: tags beside the packet, QinQ, fragments, options, pages."""

    def shown(expression: str, function: str, *ports: str) -> int:
        return shown_packets(observed, expression, function, *ports)

    tagged = [w for w in observed.on("sa", outgoing=True) if w.tagged]
    assert {(w.frame.tpid, w.frame.tci) for w in tagged} == {(0x8100, 7), (0x88A8, 100)}
    for function, port in ((TRANSMIT, "sa"), (RECEIVE, "sb")):
        assert shown("vlan 7", function, port) == sum(w.frame.tci == 7 for w in tagged)
        assert shown("vlan 100 and vlan 7", function, port) == sum(
            w.frame.tci == 100 for w in tagged
        )
        assert shown("vlan 7 and ip", function, port) >= 3
        assert shown("vlan 7 and ip6", function, port) >= 3
        assert shown("ip6[6] = 0 or ip6[6] = 44", function, port) >= 4
        assert shown("ip[0] & 0xf > 5", function, port) == 1
        assert shown("ip[6:2] & 0x3fff != 0", function, port) == 3
        big = [s for s in observed.shown["greater 1000"]
               if s.function == function and s.interface == port
               and int(s.packet.rpartition(" ")[2]) > 2000]  # fmt: skip
        assert len(big) >= 2, "TCP of both families in packets larger than the MTU"
    assert shown("ip[6:2] & 0x3fff != 0", "ip_finish_output2", "sa") == 3
    assert shown("ip6[6] = 0 or ip6[6] = 44", "ip6_finish_output2", "sa") >= 4
    assert shown("arp", "arp_xmit", "sa", "sb") == 3
    assert shown("ether host 02:00:00:00:00:01", "ip_finish_output2", "sa") == 0
    assert shown("ether host 02:00:00:00:00:01", TRANSMIT, "sa") > 50


def test_payload_in_pages(observed: Observation) -> None:
    """A filter on the payload, which TCP and sendfile leave in pages."""
    places = stack_places(observed, [TRANSMIT, RECEIVE], ["sa", "sb"])
    observed.judge(places, EXPRESSIONS).holds(4, 100)


def test_headers_not_yet_set_are_not_read(observed: Observation) -> None:
    """TCP's packets on their way to the network layer match nothing, not even ``not ip``."""
    early = dict(observed.early)
    assert early.pop("").total() > 20
    assert {expression: shown.total() for expression, shown in early.items()} == dict.fromkeys(
        early, 0
    )


def test_an_unknown_layout_of_the_sk_buff(observed: Observation) -> None:
    """Read field by field, without typed loads, a packet is told and judged the same."""
    assert len(observed.apart) > 5
    tells_the_same(observed, observed.apart)


@pytest.mark.kernels(*BY_HEADERS)
def test_types_by_the_kernels_headers(observed: Observation) -> None:
    """As on a kernel without BTF: every sk_buff is believed, told and judged the same."""
    assert len(observed.by_headers) > 10
    tells_the_same(observed, observed.by_headers)


def tells_the_same(observed: Observation, others: Mapping[str, Counter[Seen]]) -> None:
    """As the tracers of the same expressions that read what they read as usual."""
    functions = {seen.function for seen in others[""]}
    assert len(functions) > 4
    for expression, shown in others.items():
        usual = observed.shown[expression] if expression else observed.everything
        told, expected = (
            {
                seen: n
                for seen, n in events.items()
                if NOISE not in seen.packet and seen.function in functions
            }
            for events in (shown, usual)
        )
        assert told == expected, expression
        assert told, expression
