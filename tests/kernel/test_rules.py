# SPDX-License-Identifier: Apache-2.0
"""``--rules``: the rule that dropped a packet stands with its drop."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.kernel.lab import Lab

RULES = """nft 'add table inet w; add chain inet w in { type filter hook input priority -5; };
            add rule inet w in udp dport 7091 counter drop comment "first"' &&
for x in iptables-legacy ip6tables-legacy; do
    $x -N WDENY; $x -A WDENY -j DROP; $x -A INPUT -p udp --dport 7092 -j WDENY; done"""
OFF = """nft delete table inet w
for x in iptables-legacy ip6tables-legacy; do $x -F; $x -X WDENY; done"""
SEND = (
    "for h in 10.1.0.2 fd00:1::2; do for p in 7091 7092 7093; do echo x > /dev/udp/$h/$p; done; "
    "done; true"
)


def told(event: dict[str, Any]) -> tuple[object, ...]:
    said = event["verdict"]
    if said is None:
        return (None,)
    return said["family"], said["table"], said["rule_chain"], said["rule_text"], said["by_policy"]


@pytest.mark.parametrize("how", ["drops", "functions"])
def test_the_rule_stands_with_the_drop(lab: Lab, how: str) -> None:
    """Of both kinds of netfilter; a packet that netfilter lets pass has none."""
    lab.guest.run("modprobe -a nf_tables iptable_filter ip6table_filter")
    lab.inside("b", RULES)
    ways = ["--rules", "--filter-func", "ip_rcv|ipv6_rcv|.*kfree_skb.*"]
    if how == "drops":
        ways = ["--drops", "--advice"]  # which wants the rules, too
    try:
        with lab.tracing(*ways, "udp and dst portrange 7091-7093") as tracing:
            lab.inside("b", "sleep 1")
            lab.inside("a", SEND)
            lab.inside("b", "sleep 4")
    finally:
        lab.inside("b", OFF)
    assert tracing.trace is not None
    events = tracing.trace.events
    assert not any(event["func"].endswith(("_do_table", "_do_chain")) for event in events)
    drops = [event for event in events if event["drop"]]
    seen: dict[tuple[bool, int], list[tuple[object, ...]]] = {}
    for event in drops:
        packet = event["tuple"]
        seen.setdefault((":" in packet["saddr"], packet["dport"]), []).append(told(event))
        assert event["netns"] == lab.inode("b")
    for six in (False, True):
        ((*which, text, policy),) = seen[six, 7091]
        assert (which, policy) == (["inet", "w", "in"], False)
        assert isinstance(text, str)
        assert text.endswith('drop comment "first"')
        ((*which, text, policy),) = seen[six, 7092]
        assert (which, policy) == (["", "filter", "WDENY"], False)
        assert isinstance(text, str)
        assert text.endswith("-A WDENY -j DROP")
        assert seen[six, 7093] == [(None,)]
    if how == "drops":
        said = [line["findings"][0] for line in tracing.trace.records if line["type"] == "advice"]
        proven = sorted(one["what"] for one in said if one["what"].startswith("dropped in table"))
        assert {one["verdict"] for one in said if one["what"] in proven} == {"proven"}
        assert proven[0].startswith("dropped in table filter, INPUT, rule 1 of chain WDENY: [")
        assert proven[0].endswith("] -A WDENY -j DROP")
        assert proven[-1].startswith("dropped in table inet w, chain in, INPUT, rule ")
        assert proven[-1].endswith('drop comment "first"')
        assert not any("can have done so" in one["what"] for one in said)
    else:
        assert {event["func"] for event in events} >= {"ip_rcv", "ipv6_rcv"}
        assert all(event["verdict"] is None for event in events if not event["drop"])


AGAIN = """ip netns add again && ip -n again link set lo up && ip netns exec again nft '
add table ip w; add chain ip w in { type filter hook input priority 0; };
add rule ip w in udp dport 7094 drop comment "%s"'"""


@pytest.mark.representative("6.12")
def test_a_namespace_that_has_the_number_of_one_that_is_gone(lab: Lab) -> None:
    """Its rule has the same handles, and is not that of the drop before."""
    lab.guest.run("modprobe nf_tables")
    inodes = []
    with lab.tracing("--rules", "--drops", "udp and dst port 7094") as tracing:
        for comment in ("first", "second"):
            lab.run(AGAIN % comment)
            inodes.append(lab.inode("again"))
            lab.inside("again", "sleep 1; echo x > /dev/udp/127.0.0.1/7094; sleep 3")
            lab.run("ip netns del again; sleep 1")
    assert tracing.trace is not None
    assert inodes[0] == inodes[1], "what this is about"
    texts = [event["verdict"]["rule_text"] for event in tracing.trace.events if event["drop"]]
    assert texts == [f'udp dport 7094 drop comment "{comment}"' for comment in ("first", "second")]


# In b 10 000 rules of nf_tables and 2 000 of iptables; in a the first ones of both, with the same
# handles, at the same places, and other comments.
MANY_RULES = """
each() {
    awk -v name=$1 "BEGIN { for (n = $2; n <= $3; n++) printf \\"$4\\", n, name, n }"
}
nft='add rule inet w in udp dport %d drop comment \\"%s %d\\"\\n'
iptables='-A INPUT -p udp --dport %d -m comment --comment \\"%s %d\\" -j DROP\\n'
for netns in 'a 20004 40004' 'b 30000 42000'; do
    set -- $netns
    { echo 'add table inet w; add chain inet w in { type filter hook input priority -5; }'
      each $1 20001 $2 "$nft"; } | ip netns exec $1 nft -f - || exit 1
    { echo '*filter'; each $1 40001 $3 "$iptables"
      echo COMMIT; } | ip netns exec $1 iptables-legacy-restore || exit 1
done"""
MANY_OFF = """for n in a b; do
    ip netns exec $n nft delete table inet w; ip netns exec $n iptables-legacy -F; done"""
ASKED = {"a": (20001, 20004, 40001, 40004), "b": (20001, 20004, 25555, 30000, 40001, 40004, 42000)}


@pytest.mark.representative("6.12")
def test_many_rules_and_two_namespaces_with_the_same_handles(lab: Lab) -> None:
    lab.guest.run("modprobe -a nf_tables iptable_filter xt_comment")
    assert lab.run(MANY_RULES, timeout=180).rc == 0
    total = sum(map(len, ASKED.values()))
    try:
        with lab.tracing("--rules", "--drops", "udp and dst portrange 20000-42000") as tracing:
            for name, ports in ASKED.items():
                sent = " ".join(map(str, ports))
                lab.inside(name, f"for p in {sent}; do echo x > /dev/udp/127.0.0.1/$p; done")
            end = time.monotonic() + 180  # nft lists so many for a while, in a guest
            while tracing.process.stdout().count('"event"') < total and time.monotonic() < end:
                time.sleep(1)
    finally:
        lab.run(MANY_OFF)
    assert tracing.trace is not None
    told: dict[tuple[str, int], dict[str, Any]] = {}
    for event in tracing.trace.events:
        name = "ab"[event["netns"] == lab.inode("b")]
        told[name, event["tuple"]["dport"]] = event["verdict"]
    assert len(told) == len(tracing.trace.events) == total
    for (name, port), verdict in told.items():
        assert f'"{name} {port}"' in str(verdict["rule_text"]), (name, port, verdict)
    for port in (20001, 20004):  # what this is about
        assert told["a", port]["rule"] == told["b", port]["rule"]


STEPS = """nft 'add table inet w; add chain inet w web;
add rule inet w web counter comment "seen"; add rule inet w web udp dport 7096 return;
add rule inet w web udp dport 7097 drop comment "no 7097";
add chain inet w in { type filter hook input priority 0; policy drop; };
add rule inet w in meta l4proto ipv6-icmp accept;
add rule inet w in udp dport 7000-7098 jump web;
add rule inet w in udp dport vmap { 7096 : accept, 7098 : drop }'"""
# In a, on the way out.
XT_STEPS = """for x in iptables-legacy ip6tables-legacy; do
    $x -N WEB; $x -N END
    $x -A WEB -m comment --comment seen
    $x -A WEB -p udp --dport 7096 -j RETURN
    $x -A WEB -p udp --dport 7097 -g END
    $x -A END -j ACCEPT
    $x -A OUTPUT -p udp --dport 7000:7098 -j WEB
    $x -A OUTPUT -p udp --dport 7099 -j MARK --set-mark 7; done"""
RULE_FUNCTIONS = ("nft_do_chain", "ipt_do_table", "ip6t_do_table")
XT_OFF = "for x in iptables-legacy ip6tables-legacy; do $x -F; $x -X; done"
Way = list[tuple[str, str, str | None]]
SEEN: Way = [("in", "JUMP", " jump web"), ("web", "CONTINUE", ' comment "seen"')]
BRANCH = "udp dport vmap { 7096 : accept, 7098 : drop }"
WAYS: dict[int, Way] = {
    7096: [*SEEN, ("web", "RETURN", "7096 return"), ("in", "ACCEPT", BRANCH)],
    7097: [*SEEN, ("web", "DROP", ' drop comment "no 7097"')],
    7098: [*SEEN, ("in", "DROP", BRANCH)],
    7099: [("in", "DROP", None)],
}
XT_SEEN: Way = [("OUTPUT", "JUMP", " -j WEB"), ("WEB", "CONTINUE", " --comment seen")]
XT_WAYS: dict[int, Way] = {
    7096: [*XT_SEEN, ("WEB", "RETURN", " -j RETURN"), ("OUTPUT", "ACCEPT", None)],
    7097: [*XT_SEEN, ("WEB", "GOTO", " -g END"), ("END", "ACCEPT", "-A END -j ACCEPT")],
    7098: [*XT_SEEN, ("OUTPUT", "ACCEPT", None)],  # the end of its own chain is no rule
    7099: [("OUTPUT", "MARK", " -j MARK --set-xmark 0x7/0xffffffff"), ("OUTPUT", "ACCEPT", None)],
}


@pytest.mark.representative("5.10", "newest")
@pytest.mark.parametrize("how", ["drops", "functions"])
def test_every_rule_that_a_packet_meets(lab: Lab, how: str) -> None:
    """And what drops it is certain where registers do not tell: a verdict map, a policy."""
    lab.guest.run("modprobe -a nf_tables iptable_filter ip6table_filter xt_mark xt_comment")
    lab.inside("b", STEPS)
    lab.inside("a", XT_STEPS)
    ways = ["--drops"] if how == "drops" else ["--filter-func", "ip_rcv"]
    send = "for h in 10.1.0.2 fd00:1::2; do for p in 7096 7097 7098 7099; do "
    try:
        with lab.tracing("--output-nf-path", *ways, "udp and dst portrange 7096-7099") as tracing:
            lab.inside("a", f"{send} echo x > /dev/udp/$h/$p; done; done")
            lab.inside("b", "sleep 3")
    finally:
        lab.inside("b", "nft delete table inet w")
        lab.inside("a", XT_OFF)
    assert tracing.trace is not None
    met: dict[tuple[str, int, bool], list[tuple[Any, ...]]] = {}
    for event in tracing.trace.events:
        assert how == "drops" or len(event["nf_path"]) == event["func"].endswith(RULE_FUNCTIONS)
        for step in event["nf_path"]:
            kind = {("inet", "w"): "nft", ("", "filter"): step["hook"]}
            of = kind.get((step["family"], step["table"]), "other")  # that other tests leave
            packet = event["tuple"]
            met.setdefault((of, packet["dport"], ":" in packet["saddr"]), []).append(
                (step["chain"], step["verdict"], step["rule_text"])
            )
    for of, paths in (("nft", WAYS), ("OUTPUT", XT_WAYS)):
        for port, way in paths.items():
            for six in (False, True):
                seen = met[of, port, six]
                assert len(seen) == len(way), (of, port, seen)
                for (chain, verdict, end), told in zip(way, seen, strict=True):
                    assert told[:2] == (chain, verdict)
                    assert told[2] == end or (end and told[2].endswith(end)), told
    if how == "drops":
        by = {event["tuple"]["dport"]: event["verdict"] for event in tracing.trace.events}
        assert by[7096] is None
        assert (by[7098]["rule_text"], by[7099]["by_policy"]) == (BRANCH, True)


REPLACED = "python -m tests.kernel.inside.replaced_rules"
LOADED = "nf_tables nft_reject_inet iptable_filter xt_multiport xt_comment xt_limit ipt_REJECT"
MANY = 50_000 if os.environ.get("PWRU_SOAK") else 11_000
REPLACED_OFF = """nft delete table inet w
iptables-legacy -P INPUT ACCEPT; iptables-legacy -F; iptables-legacy -X; rm -f /tmp/replaced"""


@pytest.mark.representative("6.12")
def test_rules_that_are_replaced_while_packets_drop(lab: Lab) -> None:
    """Ten times; no drop has a rule that was not there, or is another packet's."""
    lab.guest.run(f"modprobe -a {LOADED}")
    expression = "udp and dst portrange 7200-7217"
    tracing = lab.listen("--output-json", "--drops", "--rules", "--buffer-size", "256M", expression)
    try:
        done = lab.inside("b", f"{REPLACED} send {MANY} /tmp/replaced", timeout=300)
        assert done.rc == 0, done.stderr
        assert tracing.process.stop(timeout=120) == 0, tracing.process.stderr()
        told = f"{REPLACED} check /tmp/replaced {tracing.process.stdout_path}"
        checked = json.loads(lab.run(told, timeout=300).stdout)
    finally:
        lab.inside("b", REPLACED_OFF)
    assert checked["wrong"] == [], checked
    counts = checked["counts"]
    print(counts)
    for tool in ("nft", "iptables"):
        assert counts[f"{tool} rule"] > MANY // 10, counts
        assert counts[f"{tool} policy"] > 0, counts
