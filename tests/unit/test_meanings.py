# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pwru_py.facts import meanings
from pwru_py.facts.meanings import Meaning, about, every, meaning, near, parse
from tests.reason_names import reason_names

from .btf_builder import Builder

NAMES = Path(__file__).parent / "reason_names"
FILES = sorted(meanings._DIRECTORY.glob("*.txt"))
ENTRIES = every()
COLUMNS = 78  # 80 without the indentation of --explain

# A line says who does what: it begins with an article or with a name.
SUBJECTS = {
    "The", "A", "An", "No", "Another", "Too", "TCP", "IPv6", "IPVS", "IPsec", "MPLS", "MACsec",
    "WireGuard", "mac80211", "Bridge", "Segment", "Connection", "Open", "Active", "Data",
}  # fmt: skip
VERBS = {"Capture", "Check", "Compare", "Ignore", "List", "Load", "Look", "Read", "Suspect"}
SOURCE = re.compile(r"(include|net|drivers|kernel)/[\w./-]+(\.[ch]|/\w+)?")


@pytest.mark.parametrize("path", sorted(NAMES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_reason_of_every_kernel_has_a_line(path: Path) -> None:
    names = path.read_text().split()
    assert bool(names) == (path.stem != "5.10"), "which kernel has reasons"
    assert [name for name in names if meaning(name) is None] == []


def test_four_kernels_are_known() -> None:
    assert {path.stem for path in NAMES.glob("*.txt")} == {"5.10", "6.1", "6.12", "7.3"}


def test_no_entry_stands_twice() -> None:
    keys = Counter((e.reason, e.function) for f in FILES for e in parse(f.read_text()))
    assert [key for key, count in keys.items() if count > 1] == []
    assert len(keys) == len(ENTRIES) > 400


def test_no_two_entries_mean_the_same() -> None:
    texts = Counter(entry.means for entry in ENTRIES)
    assert [text for text, count in texts.items() if count > 1] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.reason}-{e.function}")
def test_style(entry: Meaning) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", entry.reason)
    assert re.fullmatch(r"\*|[a-z_][a-z0-9_]+", entry.function)
    for text in (entry.means, entry.check):
        assert text.isascii()
        assert text == " ".join(text.split())
        assert len(text) <= COLUMNS
        assert re.search(r"[^.]\.$", text)
        assert not re.search(r"\. [A-Z]", text), "one sentence a line"
    assert re.split(r"[ ']", entry.means)[0] in SUBJECTS
    assert entry.check.split()[0] in VERBS
    assert len(entry.source) <= COLUMNS
    for source in re.split(r"[;,] ", entry.source):
        assert SOURCE.fullmatch(source), source


@pytest.mark.parametrize(
    ("reason", "function", "key"),
    [
        ("NO_SOCKET", "", ("NO_SOCKET", "*")),
        ("NO_SOCKET", "udp_rcv", ("NO_SOCKET", "*")),
        ("NETFILTER_DROP", "nft_do_chain", ("NETFILTER_DROP", "nft_do_chain")),
        ("NETFILTER_DROP", "other", ("NETFILTER_DROP", "*")),
        ("IP_INHDR", "ip_forward", ("IP_INHDR", "ip_forward")),
        ("NOT_SPECIFIED", "netkit_xmit", ("NOT_SPECIFIED", "netkit_xmit")),
        ("NOT_SPECIFIED", "other", ("NOT_SPECIFIED", "*")),
        ("", "nf_hook_slow", ("NOT_SPECIFIED", "nf_hook_slow")),
        ("QUEUE_PURGE", "neigh_invalidate", ("NOT_SPECIFIED", "neigh_invalidate")),
        ("QUEUE_PURGE", "other", ("QUEUE_PURGE", "*")),
        ("OF_A_LATER_KERNEL", "wg_xmit", ("NOT_SPECIFIED", "wg_xmit")),
        ("NOT_SPECIFIED", "ip_fragment.constprop.0+0x4b/0x80", ("NOT_SPECIFIED", "ip_fragment")),
        ("NOT_SPECIFIED", "br_flood+0x1/0x2 [bridge]", ("NOT_SPECIFIED", "br_flood")),
        ("SKB_DROP_REASON_SKB_CSUM", "", ("SKB_CSUM", "*")),
        ("SKB_CONSUMED", "", ("CONSUMED", "*")),
        ("___RX_DROP_U_DUP", "", ("RX_DROP_U_DUP", "*")),
    ],
)
def test_the_most_specific_entry_counts(reason: str, function: str, key: tuple[str, str]) -> None:
    found = meaning(reason, function)
    assert found is not None
    assert (found.reason, found.function) == key


@pytest.mark.parametrize(
    ("reason", "function"), [("", ""), ("", "other"), ("OTHER", ""), ("*", "*")]
)
def test_nothing_is_known_of_the_unknown(reason: str, function: str) -> None:
    assert meaning(reason, function) is None


def test_every_entry_is_found_by_its_own_key() -> None:
    assert [e for e in ENTRIES if meaning(e.reason, e.function.replace("*", "")) is not e] == []


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("ip_inhdr", [("*",), ("ip_forward",), ("ip6_forward",)]),
        ("SKB_DROP_REASON_NO_SOCKET", [("*",)]),
        ("NOT_SPECIFIED", [("*",)]),
        ("br_forward", [("br_forward",)]),
        ("nope", []),
        ("*", []),
        ("", []),
    ],
)
def test_all_about_a_word(word: str, keys: list[tuple[str]]) -> None:
    assert [(entry.function,) for entry in about(word)] == keys


def test_about_a_function_with_several_reasons() -> None:
    found = {entry.reason for entry in about("nft_do_chain+0x5/0x9 [nf_tables]")}
    assert found == {"NOT_SPECIFIED", "NETFILTER_DROP"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("NO_SOKET", "NO_SOCKET"),
        ("no_sockets", "NO_SOCKET"),
        ("SKB_DROP_REASON_NETFLTER_DROP", "NETFILTER_DROP"),
        ("br_foward", "br_forward"),
        ("__udp4_lib_recv", "__udp4_lib_rcv"),
    ],
)
def test_typing_errors(typed: str, meant: str) -> None:
    assert near(typed)[0] == meant


def test_nothing_is_near_nonsense() -> None:
    assert near("xyzzy") == []
    assert near("") == []


def test_an_entry_has_four_lines() -> None:
    text = "# comment\n\n# of one\nA *\nThe a.\nCheck it.\nnet/a.c\n"
    assert parse(text) == [Meaning("A", "*", "The a.", "Check it.", "net/a.c")]
    with pytest.raises(ValueError, match="unpack"):
        parse("A *\nThe a.\n")


def test_reason_names_leave_out_what_is_no_reason() -> None:
    base = Builder()
    base.enum("skb_drop_reason", {
        "SKB_NOT_DROPPED_YET": 0, "SKB_DROP_REASON_SKB_CSUM": 3, "SKB_DROP_REASON_MAX": 4,
        "SKB_DROP_REASON_SUBSYS_MASK": 0xFFFF0000,
    })  # fmt: skip
    base.enum("skb_drop_reason_subsys", {"SKB_DROP_REASON_SUBSYS_CORE": 0})
    module = Builder(base)
    module.enum("___a_drop_reason", {"___RX_QUEUED": 0, "___RX_DROP_U_DUP": 0x10001})
    module.enum("a_drop_reason", {"RX_DROP_U_DUP": 0x10001, "__A_DROP_REASON": 0x10000})
    vmlinux = base.btf()
    found = reason_names([vmlinux, module.btf(vmlinux, "a")])
    assert found == ["NOT_DROPPED_YET", "RX_DROP_U_DUP", "SKB_CSUM"]
