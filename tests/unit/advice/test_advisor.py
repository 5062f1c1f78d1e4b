# SPDX-License-Identifier: Apache-2.0
"""From events to advice, by a reader that answers what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from pwru_py.advice.case import Advice, Drop, Fact, Finding, Verdict
from pwru_py.advice.collect import CASES_MAX
from pwru_py.advisor import Advisor
from pwru_py.output.advice import advice_lines, json_advice
from pwru_py.record.event import Context, Dropped, Event, Flow, Frame, Tuple

SCHEMA = json.loads((Path(__file__).parents[3] / "pwru_py" / "output" / "schema.json").read_text())
PACKET = Tuple("10.0.0.1", "10.0.0.2", 999, 53, 17, True)
PLACE = Frame(1, "__udp4_lib_rcv", 4, "")


class Fake:
    """Answers every question: ``values`` by kind of reading, or an error."""

    def __init__(self, error: str = "", *, silent: bool = False, **values: Any) -> None:
        self.questions: list[dict[str, Any]] = []
        self._error, self._mute, self._values = error, silent, values
        self._answers: list[dict[str, Any]] = []
        self.closed = self.ended = False

    def wait_ready(self) -> bool:
        return True

    def ask(self, question: dict[str, Any]) -> bool:
        self.questions.append(question)
        told = {"id": question["id"], "error": self._error, "name": "web", "values": []}
        if not self._error:
            told["values"] = [self._values.get(kind) for kind, _ in question["readings"]]
            counters = {"Udp.NoPorts": 7 + len(self.questions)}
            told |= {"before": {"Udp.NoPorts": 7}, "after": counters}
        self._answers.append(told)
        return True

    def answers(self) -> list[dict[str, Any]]:
        found, self._answers = self._answers, []
        return [] if self._mute else found

    def wait(self, until_s: float) -> list[dict[str, Any]]:
        self.ended = True
        return self.answers()

    def close(self) -> None:
        self.closed = True


def event(
    reason: str = "NO_SOCKET", *, packet: Tuple = PACKET, netns: int = 5, **more: Any
) -> Event:
    values: dict[str, Any] = dict.fromkeys(Event._fields, 0)
    values |= {"comm": "", "context": Context.TASK, "func": "skb:kfree_skb", "module": ""}
    values |= {"ifname": "eth0", "tuple": packet, "reason_name": reason, "stack": (), "drop": True}
    values |= {"location": PLACE, "netns": netns, "dropped_by": None, "conntrack": None}
    return Event(**(values | more))


def test_a_case_is_asked_about_once_and_counted() -> None:
    fake = Fake(sockets=[], elsewhere=["other"])
    advisor = Advisor(fake, 1)
    advisor.see([event(), event()])
    advisor.see([event(drop=False), event(), event(packet=PACKET._replace(dport=54))])
    asked = [question["netns"] for question in fake.questions]
    said = advisor.finish({})
    assert asked == [5, 5], "two cases"
    assert [one.packets for one in said] == [3, 1]
    assert said[0].findings[0].verdict is Verdict.PROVEN
    assert said[0].netns_name == "web"
    assert fake.closed


def test_what_a_kernel_counted_is_told_by_flow() -> None:
    fake = Fake(sockets=[], elsewhere=[])
    advisor = Advisor(fake, 9)
    flows = (Flow(PACKET, 4), Flow(PACKET._replace(dport=54), 6))
    advisor.count([Dropped("NO_SOCKET", PLACE, 10, 0, "eth0", flows)])
    advisor.count([Dropped("AT_ALL_UNKNOWN", PLACE, 10)])
    said = advisor.finish({})
    assert [one.packets for one in said] == [6, 4]
    assert {one.drop.netns for one in said} == {9}


def test_too_many_causes_are_counted_alone() -> None:
    fake = Fake(sockets=[])
    advisor = Advisor(fake, 1)
    advisor.see(event(ifname=f"e{n}") for n in range(CASES_MAX + 5))
    assert len(fake.questions) == CASES_MAX
    advisor.see(event(ifname="e0", packet=PACKET._replace(dport=port)) for port in range(9))
    said = advisor.finish({})
    assert advisor.left == 5 + 9
    lines = advice_lines(said, advisor.left)
    assert lines[-1] == "no advice for 14 more drops: there were too many causes to look at"


def test_why_nothing_is_known() -> None:
    for fake, netns, note in (
        (Fake("its namespace is gone, or nothing leads to it"), 5, "is gone"),
        (Fake(silent=True), 5, "could not be read in time"),
        (Fake(), 0, "did not tell its namespace"),
    ):
        advisor = Advisor(fake, 0)
        advisor.see([event(netns=netns)])
        (one,) = advisor.finish({})
        _, line = advice_lines([one])
        assert "NO_SOCKET at __udp4_lib_rcv (eth0): no advice: " in line
        assert note in line


def test_what_has_no_diagnosis_is_not_asked_about() -> None:
    fake = Fake()
    advisor = Advisor(fake, 1)
    advisor.see([event("", location=Frame(1, "some_function", 0, ""))])
    assert advisor.finish({}) == []
    assert fake.questions == []


def test_losses_that_are_no_drops() -> None:
    listener = {"addr": "0.0.0.0", "port": 80, "ifname": "", "queue": 3, "backlog": 2}
    fake = Fake(listeners=[listener])
    said = Advisor(fake, 4).finish({"ListenOverflows": 3, "ListenDrops": 3})
    (one,) = said
    assert (one.drop.reason, one.packets, one.drop.netns) == ("ListenOverflows", 3, 4)
    assert one.findings[0].what == "the accept queue of 0.0.0.0:80 is full"


def test_three_lines_at_most_and_json_by_the_schema() -> None:
    found = (
        Finding(Verdict.LIKELY, "it is so", (Fact("a", 1, 2, 3), Fact("b", "x")), "do this"),
        Finding(Verdict.NOT_THIS, "it is other", (Fact("c", 4),)),
    )
    one = Advice(Drop("TTL", "f", 5, "eth0", PACKET), 2, "web", found)
    assert advice_lines([one]) == [
        "advice, by the state of the kernel:",
        "2  TTL at f (eth0, web): likely: it is so",
        "   now: a: 1 of 2 (+3); b: x; c: 4; not this: it is other",
        "   change: do this",
    ]
    refuted = one._replace(findings=found[1:])
    assert advice_lines([refuted])[1:] == [
        "2  TTL at f (eth0, web): not this: it is other",
        "   now: c: 4",
    ]
    assert advice_lines([]) == []
    vague = Advice(Drop("", "wg_xmit", 5, "", None), 1, note="gone")
    assert advice_lines([vague])[1:] == ["1  wg_xmit: no advice: gone"]
    for each in (one, refuted, vague):
        record = json_advice(each)
        jsonschema.validate(record, SCHEMA)
        assert json.loads(json.dumps(record)) == record
    proof = json_advice(one)["findings"][0]["proof"]
    assert proof[0] == {"name": "a", "value": 1, "limit": 2, "rise": 3}
