# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.facts.conntrack import CtState
from pwru_py.facts.ruleset import Netns, Rule
from pwru_py.facts.xtables import Place, XtRule
from pwru_py.journeys import JourneySink
from pwru_py.options.config import Config, Timestamp
from pwru_py.options.flags import Options
from pwru_py.output.journey import Names, end_text, journey_lines, json_journey
from pwru_py.output.paths import map_lines
from pwru_py.packets.journey import Journeys
from pwru_py.packets.paths import Paths
from pwru_py.record.dropped_by import NoRules
from pwru_py.record.event import Conntrack, Context, Event, Frame, Icmp, Placed, Tuple, Verdict
from pwru_py.record.journey import Changed, Ended, Journey, Way, tunnels

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
UDP = Tuple(A, B, 1000, 53, 17, True)
LATER = Tuple(A, B, 0, 0, 17, False, fragment=True)
OUT, IN, RX = "net:net_dev_queue", "net:netif_rx_entry", "net:napi_gro_receive_entry"
READ, TCP, DROP = "skb:skb_copy_datagram_iovec", "tcp:tcp_probe", "skb:kfree_skb"
CONSUMED, ERROR = "skb:consume_skb", "icmp:icmp_send"
MS = 1_000_000
HOST = Names({11: "host"}.__getitem__)


def event(func: str, ms: float, packet: int = 1, **other: Any) -> Event:
    by = other.pop("by", "")
    values: dict[str, Any] = {
        "skb": packet, "cpu": 0, "pid": 7, "comm": "dig", "context": Context.TASK, "func": func,
        "module": "", "addr": 0, "ts_ns": int(ms * MS), "wall_ns": 0, "netns": 11, "mark": 0,
        "ifindex": 2, "ifname": "eth0", "proto": 0x800, "mtu": 1500, "len": 100, "tuple": UDP,
        "tcp_flags": 0, "reason": -1, "reason_name": "", "stack": (), "packet": packet,
        "location": Frame(0, by, 16, "") if by else None,
    }  # fmt: skip
    return Event(**{**values, **other})


def told(*events: Event, until_ms: float = 10_000) -> list[Journey]:
    one = Journeys()
    return [*one.add(events), *one.expired(int(until_ms * MS))]


def only(*events: Event) -> Journey:
    (journey,) = told(*events)
    return journey


def test_hops_and_the_process_that_reads() -> None:
    way = only(
        event(OUT, 1),
        event(OUT, 1.1),  # once more, as a queue was full
        event(IN, 2, netns=12, ifname="web0"),
        event(READ, 5, netns=12, comm="named", pid=9),
    )
    assert [(hop.way, hop.netns, hop.ifname) for hop in way.hops] == [
        (Way.OUT, 11, "eth0"),
        (Way.IN, 12, "web0"),
    ]
    assert (way.process, way.process_sure, way.begin_ns) == ("dig:7", True, MS)
    assert (way.end.how, way.end.by, way.end.waited_ns) == (Ended.READ, "named:9", 3 * MS)


@pytest.mark.parametrize(
    ("last", "how", "by", "sure"),
    [
        (event(CONSUMED, 3, by="icmp_rcv"), Ended.TAKEN, "ICMP", True),
        (event(CONSUMED, 3, by="tun_do_read"), Ended.TAKEN, "the program behind the device", True),
        (event(CONSUMED, 3, by="packet_rcv"), Ended.TAKEN, "a packet socket", True),
        (event(CONSUMED, 3, by="ip_frob"), Ended.TAKEN, "ip_frob", True),
        (event(CONSUMED, 3, by="skb_consume_udp"), Ended.READ, "dig:7", True),
        (event(CONSUMED, 3), Ended.TAKEN, "this host", True),
        (event(DROP, 3, by="ip_rcv_core", drop=True, reason_name="IP_CSUM"),
         Ended.DROPPED, "ip_rcv_core+0x10", True),
        (event(DROP, 3, by="tcp_v4_rcv", drop=True, reason_name="NOT_SPECIFIED"),
         Ended.TAKEN, "TCP", False),
        (event(DROP, 3, by="sk_stream_kill_queues", drop=False), Ended.TAKEN, "TCP", True),
        (event(CONSUMED, 3, by="ip_defrag"), Ended.TAKEN, "reassembly", True),
        (event(DROP, 3, by="icmp_rcv", drop=True, reason_name="NO_SOCKET"),
         Ended.TAKEN, "ICMP", True),
        (event(DROP, 3, by="icmp_rcv", drop=True), Ended.TAKEN, "ICMP", False),
        (event(DROP, 3, by="icmp_rcv", drop=True, reason_name="ICMP_CSUM"),
         Ended.DROPPED, "icmp_rcv+0x10", True),
        (event(TCP, 3), Ended.TAKEN, "TCP", True),
        (event(ERROR, 3), Ended.TAKEN, "a socket", False),
    ],
)  # fmt: skip
def test_ends_of_what_came_in(last: Event, how: Ended, by: str, sure: bool) -> None:
    end = only(event(IN, 1), last).end
    assert (end.how, end.by, end.sure) == (how, by, sure)


@pytest.mark.parametrize("location", ["", "free_old_xmit", "napi_consume_skb"])
def test_what_a_driver_frees_has_left(location: str) -> None:
    end = only(event(OUT, 1), event(CONSUMED, 3, by=location)).end
    assert (end.how, end.by, end.sure) == (Ended.LEFT, "eth0", True)


@pytest.mark.parametrize(
    ("came", "hardware", "last", "words"),
    [
        (False, True, 3, "✔ left this host by eth0"),
        (False, False, 3, "✔ left by eth0"),
        (True, True, 3, "✔ forwarded: left this host by eth0"),
        (True, False, 3, "✔ forwarded by eth0"),
        (True, True, 0, "? forwarded: left this host by eth0, it seems; the device told of no end"),
    ],
)
def test_whether_it_has_left_the_host(came: bool, hardware: bool, last: int, words: str) -> None:
    """What came in and is sent is forwarded; what hardware sends, or seems to, leaves the host."""
    names = Names({11: "host"}.__getitem__, outside=lambda *device: (*device, hardware) == (
        11, "eth0", True))  # fmt: skip
    entry = [event(IN, 1, ifname="web0", ifindex=3)] if came else []
    freed = [event(CONSUMED, last)] if last else []
    way = only(*entry, event(OUT, 2), *freed)
    assert journey_lines(way, names)[-1].endswith(f"host  {words}")
    end = json_journey(way, names)["end"]
    assert (end["forwarded"], end["left_host"]) == (came, hardware)
    counted = Paths()
    counted.add(way)
    (line,) = map_lines(counted.busiest(), 1, 0, names)[1:]
    assert line.endswith("  " + words.partition(";")[0])


def test_a_list_freed_on_the_way_out_may_be_a_drop() -> None:
    """Where the kernel gives no reasons, a queue frees so what it does not take."""
    end = only(event(OUT, 1), event(DROP, 3, by="kfree_skb_list")).end
    assert (end.how, end.by, end.sure) == (Ended.DROPPED, "kfree_skb_list+0x10", False)
    assert end.note == "or it was a piece of what has left"


def test_freed_at_another_device_than_the_one_that_was_to_send_it() -> None:
    """As between two macvlan devices, on a kernel that does not say who frees."""
    end = only(event(OUT, 1, ifname="m1"), event(CONSUMED, 2, netns=12, ifname="m2")).end
    assert (end.how, end.by, end.netns) == (Ended.TAKEN, "this host", 12)


@pytest.mark.parametrize(
    ("func", "packet", "by"),
    [
        (IN, UDP, "a socket"),
        (RX, UDP, "GRO or a socket"),
        (RX, UDP._replace(proto=6), "GRO or TCP"),
        (IN, LATER, "reassembly"),
    ],
)
def test_who_takes_in_without_a_word(func: str, packet: Tuple, by: str) -> None:
    end = only(event(func, 1, tuple=packet)).end
    assert (end.how, end.by, end.sure) == (Ended.TAKEN, by, False)


@pytest.mark.parametrize(
    ("by", "target", "note"),
    [
        ("ip6_mc_input", "ff02::1:ff00:3", "no one here has joined the group"),
        ("ip_rcv_finish_core.isra.0", "239.1.1.1", "perhaps no one here has joined the group"),
        ("ip_rcv_finish_core.isra.0", B, ""),
        ("ip_mc_output", "239.1.1.1", ""),
    ],
)
def test_a_group_that_nobody_has_joined(by: str, target: str, note: str) -> None:
    asked = UDP._replace(daddr=target)
    drop = event(DROP, 2, by=by, tuple=asked, drop=True, reason_name="NOT_SPECIFIED")
    assert only(event(IN, 1, tuple=asked), drop).end.note == note
    other = drop._replace(reason_name="NETFILTER_DROP")
    assert only(event(IN, 1, tuple=asked), other).end.note == ""


def test_ends_that_nobody_tells() -> None:
    left = only(event(OUT, 1)).end
    assert (left.how, left.by, left.sure) == (Ended.LEFT, "eth0", False)
    esp = UDP._replace(proto=50, has_ports=False)
    lost = only(event(IN, 1, tuple=esp))
    assert lost.end.how is Ended.UNSEEN
    assert end_text(lost, HOST) == (
        "lost sight of; it waits, is part of another packet, or was freed where nothing tells"
    )
    one = Journeys()
    assert [*one.add([event(IN, 1, tuple=esp)])] == []
    (cut,) = one.close()
    assert end_text(cut, HOST) == "lost sight of; the session ended"


def test_nothing_is_concluded_where_events_were_lost() -> None:
    one = Journeys()
    one.lossy = True
    assert [*one.add([event(IN, 1), event(OUT, 1, 2), event(IN, 1, 3), event(TCP, 2, 3)])] == []
    ends = [way.end for way in one.expired(10_000 * MS)]
    assert [end.how for end in ends] == [Ended.UNSEEN, Ended.UNSEEN, Ended.TAKEN]
    assert ends[0].note == "events were lost"


ACCEPTED = Verdict("", "nat", "", "PREROUTING", "ACCEPT")
DROPPED = Verdict("inet", "flt", "in", "INPUT", "DROP", 3, 0, "DROP", net_cookie=5)
HERE = Netns(11, 5)


def test_what_tables_say_stands_between_the_hops() -> None:
    way = only(
        event(IN, 1),
        event("ipt_do_table", 2, verdict=ACCEPTED),
        event("ipt_do_table", 2.5, verdict=ACCEPTED._replace(table="raw")),
        event("nft_do_chain", 3, verdict=DROPPED),
        event(ERROR, 3.5),
        event(DROP, 4, by="nf_hook_slow", drop=True, reason_name="NETFILTER_DROP"),
    )
    assert journey_lines(way, HOST)[1:] == [
        "   0.000 ms  host  in   eth0",
        "   1.000 ms  host  nf   nat.PREROUTING:ACCEPT, raw.PREROUTING:ACCEPT",
        "   2.000 ms  host  nf   inet flt/in.INPUT:DROP",
        "   3.000 ms  host  ✘ NETFILTER_DROP in nf_hook_slow+0x10: table inet flt, chain in, INPUT,"
        " by its policy, drop, or a rule that is not known; an ICMP error is sent back",
    ]
    found = Paths()
    found.add(way)
    assert map_lines(found.busiest(), 1, 0, HOST)[-1] == (
        "1  host eth0  ✘ NETFILTER_DROP in nf_hook_slow: table inet flt, chain in, INPUT, "
        "by its policy, drop, or a rule that is not known"
    )
    said = json_journey(way, HOST)["verdicts"]
    assert [each["table"] for each in said] == ["nat", "raw", "flt"]
    assert said[2] == {
        "ts_ns": 3 * MS, "netns": 11, "namespace": "host", "iface": "eth0", "family": "inet",
        "table": "flt", "chain": "in", "hook": "INPUT", "verdict": "DROP", "table_handle": 3,
        "rule": None, "tool": "", "policy": "DROP",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (DROPPED, "by its policy, drop, or a rule that is not known"),
        (DROPPED._replace(policy="ACCEPT"), "by a rule that is not known"),
        (DROPPED._replace(table_handle=4, replaced=2), "by its policy, drop"),
        (DROPPED._replace(table_handle=4), "by its policy, drop, or a rule that is not known"),
        (DROPPED._replace(table_handle=4, policy="ACCEPT"), "by a rule that is not known"),
        (DROPPED._replace(rule=7), "rule 7 (gone, or it cannot be listed)"),
        (DROPPED._replace(rule=6), "rule 6 (gone)"),
        (DROPPED._replace(rule=8), "rule 8: udp dport 9 drop"),
        (DROPPED._replace(rule=8, verdict="QUEUE"), "queued by rule 8: udp dport 9 drop"),
        (
            DROPPED._replace(table_handle=4, replaced=2, verdict="QUEUE"),
            "queued by a rule that is not known",
        ),
        (DROPPED._replace(rule=9), "rule 9 of chain deny: drop"),
    ],
)
def test_the_rule_that_dropped_it(verdict: Verdict, words: str) -> None:
    known = {(3, 8): Rule("in", "udp dport 9 drop"), (3, 9): Rule("deny", "drop")}

    class Listed(NoRules):
        def find(self, netns: Netns, table: int, rule: int) -> Rule | None:
            return known.get((table, rule)) if netns == HERE else None

        def is_gone(self, netns: Netns, table: int, rule: int) -> bool:
            return (netns, table, rule) == (HERE, 3, 6)

        def is_plain(self, netns: Netns, table: int, replaced: int) -> bool:
            return (netns, table, replaced) == (HERE, 4, 2)

    names = Names({11: "host"}.__getitem__, rules=Listed())
    by = "nf_queue" if verdict.verdict == "QUEUE" else "nf_hook_slow"
    drop = event(DROP, 4, by=by, drop=True, reason_name="NETFILTER_DROP")
    way = only(event(IN, 1), event("nft_do_chain", 2, verdict=verdict), drop)
    assert end_text(way, names).endswith(f", {words}")
    told = json_journey(way, names)["end"]["verdict"]
    assert told["by_policy"] == (words == "by its policy, drop")
    found = known.get((3, verdict.rule))
    assert (told["rule"], told["rule_text"]) == (verdict.rule or None, found and found.text)


XT = Verdict("", "filter", "", "INPUT", "DROP", net_cookie=5)


@pytest.mark.parametrize(
    ("verdict", "words", "rule"),
    [
        (XT, "by a rule that is not known", None),
        (XT._replace(placed=Placed("ip", 152, 1), hot=True),
         "by a match of a rule that is not known", None),
        (XT._replace(placed=Placed("ip", 152, 1)), "rule 2: -A INPUT -j DROP", 2),
        (XT._replace(placed=Placed("ip", 800, 1)), "rule 1 of chain DENY", 1),
        (XT._replace(placed=Placed("ip", 304, 1)), "by its policy, DROP", None),
        # Other rules by now; another table; one that accepts, which cannot have dropped it.
        (XT._replace(placed=Placed("ip", 152, 2)),
         "by a rule that has been replaced, or cannot be listed", None),
        (XT._replace(table="raw", placed=Placed("ip", 152, 1)),
         "by a rule that has been replaced, or cannot be listed", None),
        (XT._replace(placed=Placed("ip", 0, 1)),
         "by a rule that has been replaced, or cannot be listed", None),
    ],
)  # fmt: skip
def test_the_rule_of_iptables_that_dropped_it(
    verdict: Verdict, words: str, rule: int | None
) -> None:
    placed: dict[tuple[str, str, int], XtRule] = {
        ("ip", "filter", 0): XtRule("INPUT", 1, False, "-A INPUT -j ACCEPT"),
        ("ip", "filter", 152): XtRule("INPUT", 2, True, "-A INPUT -j DROP"),
        ("ip", "filter", 304): XtRule("INPUT", 0, True),
        ("ip", "filter", 800): XtRule("DENY", 1, True),
    }

    class Listed(NoRules):
        def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
            return placed.get(place) if (netns, replaced) == (HERE, 1) else None

    names = Names({11: "host"}.__getitem__, rules=Listed())
    drop = event(DROP, 4, by="nf_hook_slow", drop=True, reason_name="NETFILTER_DROP")
    way = only(event(IN, 1), event("ipt_do_table", 2, verdict=verdict), drop)
    assert end_text(way, names).endswith(f": table {verdict.table}, INPUT, {words}")
    told = json_journey(way, names)["end"]["verdict"]
    assert told["by_policy"] == ("policy" in words)
    assert told["rule"] == rule
    assert told["rule_text"] == ("-A INPUT -j DROP" if rule == 2 else None)


def test_a_table_that_accepted_has_not_dropped() -> None:
    drop = event(DROP, 4, by="nf_hook_slow", drop=True, reason_name="NETFILTER_DROP")
    assert only(event(IN, 1), event("ipt_do_table", 2, verdict=ACCEPTED), drop).end.verdict is None


def test_a_packet_may_begin_in_a_table() -> None:
    """At OUTPUT; not when it was stolen, as it may be another packet then."""
    out = event("ipt_do_table", 1, verdict=ACCEPTED._replace(hook="OUTPUT"))
    way = only(out, event(OUT, 2))
    assert (way.begin_ns, way.process, len(way.hops)) == (MS, "dig:7", 1)
    assert told(out._replace(verdict=ACCEPTED._replace(verdict="STOLEN"))) == []


def test_a_drop_may_be_all_that_is_seen() -> None:
    way = only(event(DROP, 1, by="nf_hook_slow", drop=True, reason_name="NETFILTER_DROP"))
    assert way.hops == []
    assert end_text(way, HOST) == "NETFILTER_DROP in nf_hook_slow+0x10"
    assert told(event(CONSUMED, 1), event(READ, 1, 2), event(TCP, 1, 3)) == []


def test_what_a_raw_socket_leaves_unread_is_no_journey() -> None:
    reply = Tuple("10.0.0.2", "10.0.0.1", 0, 0, 1, False, Icmp(0, 7, 1))
    purged = event(DROP, 1, by="inet_sock_destruct", drop=True, reason_name="QUEUE_PURGE")
    assert told(purged._replace(tuple=reply)) == []
    assert end_text(only(purged), HOST) == "QUEUE_PURGE in inet_sock_destruct+0x10", (
        "of UDP it is lost"
    )


def test_a_kernel_without_reasons() -> None:
    assert end_text(only(event(DROP, 1, drop=True, by="kfree_skb_list")), HOST) == (
        "dropped in kfree_skb_list+0x10"
    )


NATTED = UDP._replace(daddr=C, dport=5353)
TUNNEL = Tuple("192.0.2.1", "192.0.2.2", 4444, 4789, 17, True)


@pytest.mark.parametrize(
    ("after", "length", "what"),
    [
        (NATTED, 114, Changed.TARGET),
        (UDP._replace(saddr=C), 86, Changed.SOURCE),
        (NATTED._replace(saddr=C), 100, Changed.BOTH),
        (TUNNEL, 164, Changed.INTO),
        (TUNNEL._replace(proto=50), 120, Changed.INTO),
        (TUNNEL._replace(proto=1), 64, Changed.OUT_OF),
        (TUNNEL, 50, Changed.OUT_OF),
    ],
)
def test_what_is_another_than_before(after: Tuple, length: int, what: Changed) -> None:
    way = only(event(IN, 1), event(OUT, 2, tuple=after, len=length))
    assert way.hops[0].change is None
    assert way.hops[1].change == (what, UDP, after)
    inside = {Changed.INTO: [0, 1], Changed.OUT_OF: [1, 0]}
    assert tunnels(way.hops) == inside.get(what, [0, 0])


def test_a_question_and_its_answer_through_nat() -> None:
    ask, say = Icmp(8, 4, 1), Icmp(0, 4, 1)
    first, last = Tuple(A, B, 0, 0, 1, False, ask), Tuple(A, C, 0, 0, 1, False, ask)
    reply = Tuple(C, A, 0, 0, 1, False, say)
    one = Journeys()
    assert [*one.add([event(OUT, 1, tuple=first), event(OUT, 2, tuple=last)])] == []
    assert [*one.add([event(IN, 3, 2, tuple=reply)])] == []
    drop = event(DROP, 4, 2, tuple=reply, by="ping_rcv", drop=True, reason_name="NO_SOCKET")
    assert [*one.add([drop])] == []
    (answer,) = one.add([event(READ, 5, 3, tuple=reply, comm="ping")])
    (question,) = one.expired(10_000 * MS)
    assert (question.answered_by, answer.answers, answer.round_trip_ns) == (2, 1, 4 * MS)
    assert (answer.end.how, answer.end.by, answer.end.waited_ns) == (Ended.READ, "ping:7", MS)


def test_dns_is_matched_by_its_id() -> None:
    """A resolver may ask twice by one port; the answers come in the other order."""
    query = Tuple("10.0.0.1", "10.0.0.2", 4000, 53, 17, True)
    reply = Tuple("10.0.0.2", "10.0.0.1", 53, 4000, 17, True)
    found = told(
        event(OUT, 1, 1, tuple=query, dns=7), event(OUT, 2, 2, tuple=query, dns=8),
        event(IN, 3, 3, tuple=reply, dns=8), event(READ, 4, 3, tuple=reply, dns=8),
        event(IN, 5, 4, tuple=reply, dns=7), event(READ, 6, 4, tuple=reply, dns=7),
    )  # fmt: skip
    assert {way.packet: (way.answers, way.answered_by) for way in found} == {
        1: (0, 4), 2: (0, 3), 3: (2, 0), 4: (1, 0),
    }  # fmt: skip
    assert {way.round_trip_ns for way in found if way.answers} == {2 * MS, 5 * MS}


def test_a_copy_that_is_known_to_be_one() -> None:
    """Two replies with one tuple, as after a wrap of the sequence number."""
    reply = Tuple(B, A, 0, 0, 1, False, Icmp(0, 4, 1))
    one = Journeys()
    for packet in (1, 2):
        drop = event(
            DROP, 2, packet, tuple=reply, by="ping_rcv", drop=True, reason_name="NO_SOCKET"
        )
        assert [*one.add([event(IN, 1, packet, tuple=reply), drop])] == []
    freed = event(CONSUMED, 5, 9, tuple=reply, parent=1, by="skb_free_datagram_locked")
    (first,) = one.add([event(READ, 5, 9, tuple=reply, parent=1), freed])
    (second,) = one.add([event(READ, 6, 10, tuple=reply, parent=2)])
    assert (first.packet, second.packet) == (1, 2)
    assert one._copied == {}
    assert first.end.how is second.end.how is Ended.READ


def test_what_is_answered_has_been_taken_in() -> None:
    syn, both = UDP._replace(proto=6), Tuple(B, A, 53, 1000, 6, True)
    question, _ = told(
        event(IN, 1, tuple=syn, tcp_flags=2), event(OUT, 2, 2, tuple=both, tcp_flags=18)
    )
    assert (question.end.how, question.end.sure, question.end.note) == (Ended.TAKEN, True, "")


def test_what_is_answered_ended_where_the_answer_came_from() -> None:
    """A socket on a macvlan in another namespace, of whose device nothing tells."""
    syn, both = UDP._replace(proto=6), Tuple(B, A, 53, 1000, 6, True)
    question, _ = told(
        event(IN, 1, tuple=syn, tcp_flags=2, netns=1),
        event(OUT, 2, 2, tuple=both, tcp_flags=18, netns=9),
    )
    assert (question.hops[0].netns, question.end.netns) == (1, 9)
    asked, _ = told(
        event(OUT, 1, tuple=syn, tcp_flags=2, netns=1),
        event(IN, 2, 2, tuple=both, tcp_flags=18, netns=1),
    )
    assert asked.answered_in == 0, "from elsewhere"


def test_a_copy_that_is_read_before_its_packet_is_freed() -> None:
    reply = Tuple(B, A, 0, 0, 1, False, Icmp(0, 4, 1))
    one = Journeys()
    drop = event(DROP, 5, 1, tuple=reply, by="icmp_rcv", drop=True, reason_name="NO_SOCKET")
    read = event(READ, 4, 2, tuple=reply, parent=1, comm="ping")
    (way,) = one.add([event(IN, 1, tuple=reply), read, drop])
    assert (way.end.how, way.end.by, way.end.waited_ns) == (Ended.READ, "ping:7", 3 * MS)


def test_a_packet_socket_that_reads_its_copy_first() -> None:
    """With the link header, so it is not the copy that ping waits for."""
    reply = Tuple(B, A, 0, 0, 1, False, Icmp(0, 4, 1))
    one = Journeys()
    drop = event(DROP, 3, 1, tuple=reply, by="icmp_rcv", drop=True, reason_name="NO_SOCKET")
    tap = event(READ, 4, 2, tuple=reply, len=114, comm="dhclient")
    ways = [*one.add([event(IN, 1, tuple=reply), drop, tap, event(READ, 5, 3, tuple=reply)])]
    assert [(way.end.how, way.end.by) for way in ways] == [(Ended.READ, "dig:7")]


def test_a_first_sight_when_icmp_frees_it() -> None:
    """As of a reply that IPsec had sealed."""
    reply = Tuple(B, A, 0, 0, 1, False, Icmp(0, 4, 1))
    one = Journeys()
    drop = event(DROP, 5, 1, tuple=reply, by="icmp_rcv", drop=True, reason_name="NO_SOCKET")
    (way,) = one.add([drop, event(READ, 6, 2, tuple=reply, parent=1)])
    assert (way.hops, way.end.how) == ([], Ended.READ)


@pytest.mark.parametrize("packet", [UDP, LATER])
@pytest.mark.parametrize("func", [DROP, CONSUMED])
def test_a_piece_of_a_packet_that_arrived(packet: Tuple, func: str) -> None:
    end = only(event(IN, 1, tuple=packet), event(func, 2, by="skb_release_data")).end
    by = "reassembly" if packet.fragment else "a larger packet"
    assert (end.how, end.by, end.sure) == (Ended.TAKEN, by, True)


@pytest.mark.parametrize("read", [event(READ, 3, 2), event(CONSUMED, 3, 2, by="udpv6_recvmsg")])
def test_what_fragments_make_is_read(read: Event) -> None:
    one = Journeys()
    assert [*one.add([event(IN, 1), event(CONSUMED, 2, by="ip_defrag")])] == []
    (way,) = one.add([read._replace(parent=1)])
    assert (way.packet, way.end.how, way.end.waited_ns) == (1, Ended.READ, MS)


def test_an_answer_out_of_a_tunnel() -> None:
    ask, say = Icmp(8, 4, 1), Icmp(0, 4, 1)
    there = [event(OUT, 1, tuple=TUNNEL, len=164),
             event(IN, 2, tuple=Tuple(A, B, 0, 0, 1, False, ask), len=64)]  # fmt: skip
    back = [event(OUT, 3, 2, tuple=TUNNEL, len=164),
            event(IN, 4, 2, tuple=Tuple(B, A, 0, 0, 1, False, say), len=64)]  # fmt: skip
    question, answer = told(*there, *back)
    assert (question.answered_by, answer.answers, answer.round_trip_ns) == (2, 1, 3 * MS)


def test_the_oldest_gives_way_and_is_told() -> None:
    one = Journeys(limit=2)
    found = [*one.add(event(IN, n, n) for n in range(1, 5))]
    assert [way.packet for way in found] == [1, 2]
    assert found[0].end.note == "too many packets were under way"
    assert one.crowded == 2
    assert [way.packet for way in one.close()] == [3, 4]


FUNCS = st.sampled_from([OUT, IN, RX, READ, TCP, DROP, CONSUMED, ERROR])


@given(st.lists(st.tuples(FUNCS, st.integers(1, 5), st.booleans()), max_size=60))
def test_no_packet_has_two_ends(steps: list[tuple[str, int, bool]]) -> None:
    """Numbers are never used again: what comes behind an end begins no journey, but hops do."""
    one, ended = Journeys(), []
    lives: dict[int, int] = {}
    events = []
    for ms, (func, packet, drop) in enumerate(steps):
        number = packet + 10 * lives.setdefault(packet, 0)
        events.append(event(func, ms, number, drop=drop and func == DROP))
        if func in (DROP, CONSUMED, READ):
            lives[packet] += 1
    ended = [way.packet for way in (*one.add(events), *one.close())]
    assert len(set(ended)) == len(ended)
    seen = {e.packet for e in events if e.func in (OUT, IN, RX) or e.drop}
    assert set(ended) == seen


def test_another_mtu_is_told() -> None:
    way = only(event(OUT, 1), event(IN, 2, ifname="x"), event(OUT, 3, ifname="t", mtu=1450),
               event(OUT, 4, ifname="none", mtu=0))  # fmt: skip
    assert [line.split()[4:] for line in journey_lines(way, HOST)[1:-1]] == [
        ["eth0"], ["x"], ["t", "mtu", "1450"], ["none"],
    ]  # fmt: skip


class Above:
    """In place of what is known of devices: on 2 of namespace 11 lies bond0, 5."""

    def above(self, netns: int, lower: int, ifindex: int) -> str:
        return "bond0" if (netns, lower, ifindex) == (11, 2, 5) else ""

    def called(self, netns: int, ifindex: int) -> str:
        return "m1" if (netns, ifindex) == (12, 2) else ""


def risen(*events: Event) -> list[tuple[int, str, bool]]:
    one = Journeys(devices=Above())
    (way,) = [*one.add(events), *one.close()]
    return [(hop.netns, hop.ifname, hop.seen) for hop in way.hops]


ETH0, BOND0 = (11, "eth0", True), (11, "bond0", False)


@pytest.mark.parametrize(
    ("events", "hops"),
    [
        # Where the packet still is, in another namespace, though the index is the same there.
        ([event(IN, 1), event(CONSUMED, 2, by="icmp_rcv", netns=12, ifname="m1", iif=2)],
         [ETH0, (12, "m1", False)]),
        ([event(OUT, 1), event(CONSUMED, 2, by="f", netns=12, ifname="i2", ifindex=7, iif=7)],
         [ETH0, (12, "i2", False)]),
        # Nobody has it any more, or another device is to send it.
        ([event(IN, 1), event(READ, 2, ifindex=0, ifname="", iif=5)], [ETH0, BOND0]),
        ([event(IN, 1), event(OUT, 2, ifindex=3, ifname="e", iif=5)],
         [ETH0, BOND0, (11, "e", True)]),
        # In the namespace of the socket that has it.
        ([event(IN, 1), event(READ, 2, netns=12, ifindex=0, ifname="", iif=2)],
         [ETH0, (12, "m1", False)]),
        # Once.
        ([event(IN, 1), event(TCP, 2, ifindex=0, iif=5), event(READ, 3, ifindex=0, iif=5)],
         [ETH0, BOND0]),
        # Not known to lie there: in that namespace, in another one.
        ([event(IN, 1), event(OUT, 2, ifindex=3, ifname="e", iif=6)], [ETH0, (11, "e", True)]),
        ([event(IN, 1), event(OUT, 2, netns=12, ifname="e", iif=5)], [ETH0, (12, "e", True)]),
        # What it said before it came here, or was to leave.
        ([event(IN, 1, iif=5), event(READ, 2, ifindex=0, ifname="", iif=5)], [ETH0]),
        ([event(IN, 1), event(READ, 2, ifindex=0, ifname="", iif=2)], [ETH0]),
        ([event(OUT, 1, iif=2), event(CONSUMED, 2, iif=2)], [ETH0]),
        # tc's mirred writes the device that it takes the packet from.
        ([event(OUT, 1), event(OUT, 2, ifindex=3, ifname="ifb0", iif=2)],
         [ETH0, (11, "ifb0", True)]),
    ],
)  # fmt: skip
def test_a_device_on_top_of_the_one_that_was_seen(
    events: list[Event], hops: list[tuple[int, str, bool]]
) -> None:
    assert risen(*events) == hops


@pytest.mark.parametrize(
    ("last", "netns"),
    [
        (event(READ, 2, ifindex=0, ifname="", iif=9), 0),  # a device that nobody knows
        (event(READ, 2, ifindex=0, ifname="", iif=5), 11),
        (event(READ, 2, ifindex=0, ifname="", iif=2), 11),
        (event(READ, 2, ifindex=0, ifname="", iif=9, netns=12), 12),  # the socket's
        (event(DROP, 2, ifindex=0, ifname="", iif=9, drop=True, by="tcp_v4_rcv"), 0),
        (event(DROP, 2, iif=9, drop=True, by="ip_rcv"), 11),
    ],
)
def test_an_end_in_a_namespace_that_is_not_known(last: Event, netns: int) -> None:
    one = Journeys(devices=Above())
    (way,) = one.add([event(IN, 1), last])
    assert way.end.netns == netns


def test_the_time_at_a_device_that_was_not_seen() -> None:
    one = Journeys(devices=Above())
    (way,) = one.add([
        event(IN, 1), event(IN, 3, ifname="br0", ifindex=9, mtu=1400, iif=5),
        event(READ, 5, ifindex=0, ifname="", iif=9),
    ])  # fmt: skip
    assert [line[:11] + line[22:] for line in journey_lines(way, HOST)[1:-1]] == [
        "   0.000 ms  eth0",
        "  ≥0.000 ms  bond0",
        "   2.000 ms  br0              mtu 1400",
    ]
    assert way.end.waited_ns == 2 * MS
    assert [hop["seen"] for hop in json_journey(way, HOST)["hops"]] == [True, False, True]


def test_a_vlan_tag_that_comes_and_goes() -> None:
    way = only(event(OUT, 1, ifname="e.7"), event(OUT, 2, vlan=7), event(IN, 3, ifname="x", vlan=7),
               event(OUT, 4, ifname="y", vlan=9), event(IN, 5, ifname="z"))  # fmt: skip
    assert [line.split()[5:] for line in journey_lines(way, HOST)[1:-1]] == [
        [], ["vlan", "7"], [], ["vlan", "9"], ["no", "vlan"],
    ]  # fmt: skip
    told = json_journey(way, HOST)["hops"]
    assert [hop["vlan"] for hop in told] == [None, 7, 7, 9, None]


def test_a_translation_tells_what_conntrack_knows() -> None:
    """Where the entry is still there; a drop tells of a packet without one, too."""
    entry = Conntrack(CtState.NEW, False, ("dnat",), 7, 0, "", UDP, UDP)
    way = only(
        event(OUT, 1, conntrack=Conntrack(CtState.NONE)),
        event(OUT, 2, netns=12, ifname="e1", tuple=NATTED, conntrack=entry),
        event(IN, 3, netns=13, ifname="e2", conntrack=Conntrack(CtState.NONE)),
        event(DROP, 4, drop=True, by="f", conntrack=Conntrack(CtState.INVALID, why="bad checksum")),
    )
    names = Names({11: "host", 12: "b", 13: "c"}.__getitem__)
    told = [line[34:].strip() for line in journey_lines(way, names)[2:]]
    assert told[:2] == [
        "nat target 10.0.0.2:53 -> 10.0.0.3:5353, conntrack new dnat mark 0x7",
        "nat target 10.0.0.3:5353 -> 10.0.0.2:53",
    ]
    assert end_text(way, names) == "dropped in f+0x10; conntrack invalid: bad checksum"
    record = json_journey(way, names)
    states = [hop["conntrack"]["state"] for hop in record["hops"]]
    assert (states, record["end"]["conntrack"]["why"]) == (["none", "new", "none"], "bad checksum")
    gone = only(event(OUT, 1), event(DROP, 2, drop=True, by="f"))
    assert end_text(gone, names) == "dropped in f+0x10"
    assert json_journey(gone, names)["hops"][0]["conntrack"] is None


@pytest.mark.parametrize(
    ("reason", "by", "text"),
    [
        ("NOT_SPECIFIED", "ip_error", "NOT_SPECIFIED in ip_error+0x10; the host may not forward, "
         "or it has no route, a blackhole or a prohibition"),
        ("", "tcp_v4_rcv", "dropped in tcp_v4_rcv+0x10; "),
        ("NOT_SPECIFIED", "no_such", "NOT_SPECIFIED in no_such+0x10"),
        ("TTL", "ip_error", "TTL in ip_error+0x10"),
    ],
)  # fmt: skip
def test_a_drop_whose_reason_says_nothing_tells_what_its_function_does(
    reason: str, by: str, text: str
) -> None:
    way = only(event(OUT, 1), event(DROP, 2, drop=True, by=by, reason_name=reason))
    said = end_text(way, HOST)
    assert said.startswith(text) if text.endswith("; ") else said == text
    assert json_journey(way, HOST)["end"]["note"] == ""


COPIED = event(CONSUMED, 2, by="skb_pp_cow_data", cpu=1)


def test_the_copy_that_xdp_gets_is_the_same_packet() -> None:
    one = Journeys()
    (way,) = one.add([event(OUT, 1), COPIED, event(IN, 3, 2, cpu=1, ifname="e"),
                      event(CONSUMED, 4, 2, by="icmp_rcv")])  # fmt: skip
    assert [(hop.way, hop.ifname) for hop in way.hops] == [(Way.OUT, "eth0"), (Way.IN, "e")]
    assert (way.packet, way.end.by) == (1, "ICMP")
    assert not one.under_way


@pytest.mark.parametrize(
    "other", [event(IN, 3, 2, cpu=0), event(IN, 3, 2, cpu=1, tuple=UDP._replace(sport=2))]
)
def test_another_packet_is_not_the_copy_for_xdp(other: Event) -> None:
    first, second = sorted(told(event(OUT, 1), COPIED, other), key=lambda way: way.packet)
    assert (first.end.how, first.end.by, first.end.sure) == (Ended.TAKEN, "XDP", True)
    assert (first.packet, second.packet, len(second.hops)) == (1, 2, 1)


def test_a_packet_that_does_not_fit_has_its_length() -> None:
    dropped = event(DROP, 3, drop=True, by="f", reason_name="PKT_TOO_BIG", len=1478)
    way = only(event(IN, 1), event(ERROR, 2), dropped)
    assert end_text(way, HOST) == "PKT_TOO_BIG in f+0x10; 1478 bytes; an ICMP error is sent back"
    assert end_text(only(event(IN, 1), dropped), HOST) == "PKT_TOO_BIG in f+0x10; 1478 bytes"


def test_a_packet_that_is_cut() -> None:
    way = only(event(OUT, 1), event(CONSUMED, 2, by="ip6_fragment"))
    assert end_text(way, HOST) == "cut into fragments"
    assert way.end.by == "fragmentation"


def test_text_and_json() -> None:
    way = only(event(OUT, 1), event(IN, 2.5, netns=12, ifname="web0", tuple=NATTED, len=86),
               event(DROP, 3, netns=12, drop=True, by="f", reason_name="TTL"))  # fmt: skip
    names = {11: "host", 12: "web"}
    assert journey_lines(way, Names(names.__getitem__)) == [
        "packet 1  10.0.0.1:1000->10.0.0.2:53(udp)  dig:7",
        "   0.000 ms  host   out  eth0",
        "   1.500 ms  [web]  in   web0             nat target 10.0.0.2:53 -> 10.0.0.3:5353",
        "   2.000 ms  [web]  ✘ TTL in f+0x10",
    ]
    relative = journey_lines(way, Names(names.__getitem__), Timestamp.RELATIVE)
    assert [line[:11] for line in relative[1:]] == ["   0.000 ms", "   1.500 ms", "   0.500 ms"]
    absolute = journey_lines(way, Names(names.__getitem__), Timestamp.ABSOLUTE)
    assert re.match(r"packet 1  \d{4}-\d\d-\d\dT\d\d:00:00\.000000[+-]\d\d:00  10", absolute[0])
    assert absolute[1:] == journey_lines(way, Names(names.__getitem__))[1:]

    def device(netns: int, ifname: str) -> str:
        return "bridge br0" if (netns, ifname) == (12, "web0") else ""

    assert journey_lines(way, Names(names.__getitem__, device))[2] == (
        "   1.500 ms  [web]  in   web0             bridge br0, nat target 10.0.0.2:53 -> "
        "10.0.0.3:5353"
    )
    record = json_journey(way, Names(names.__getitem__, device))
    assert [hop["device"] for hop in record["hops"]] == [None, "bridge br0"]
    assert record["hops"][1]["change"]["what"] == "nat target"
    assert (record["end"]["how"], record["end"]["namespace"]) == ("dropped", "web")


def test_what_is_late_is_not_silent() -> None:
    """Events of ten seconds ago, with more in the buffer: time is theirs until it is empty."""
    stream, now_ms = io.StringIO(), time.monotonic_ns() / MS
    options = Options(Config(journey=True))
    sink = JourneySink(stream, options, io.StringIO(), lambda: None)
    sink.events([event(OUT, now_ms - 10_000)])
    sink.events([event(IN, now_ms - 9_000, ifname="e1")])
    assert not stream.getvalue()
    sink.events([])
    (way,) = [text for text in stream.getvalue().split("\n\n") if text]
    assert [line.split()[4] for line in way.splitlines()[1:-1]] == ["eth0", "e1"]
