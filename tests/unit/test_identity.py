# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.packets.identity import Identity, Life

A, B = 0xFFFF888000000000, 0xFFFF888000000100
HOST, WEB = 4026531840, 4026532258


def see(identity: Identity, func: str, skb: int = A, *, last: bool = False) -> int:
    return identity.see(skb, func, 0, device=0, last=last).packet


def test_numbers_come_in_the_order_of_first_sight() -> None:
    one = Identity()
    assert [see(one, "ip_rcv", skb) for skb in (A, B, A, B)] == [1, 2, 1, 2]


@pytest.mark.parametrize("last", ["kfree_skbmem", "napi_skb_cache_put"])
def test_behind_the_end_of_its_memory_an_address_is_another_packets(last: str) -> None:
    one = Identity()
    assert [see(one, func) for func in ("ip_rcv", last, "ip_rcv")] == [1, 1, 2]


def test_those_who_free_a_packet_still_see_it() -> None:
    one = Identity()
    assert see(one, "ip_rcv") == 1
    assert see(one, "skb:kfree_skb", last=True) == 1
    for func in ("__kfree_skb", "skb_release_head_state", "sock_wfree", "skb_release_data"):
        assert see(one, func) == 1
    assert see(one, "ip_rcv") == 2, "kfree_skbmem was not traced, or its event lost"


def test_nothing_frees_a_packet_twice() -> None:
    one = Identity()
    assert [see(one, "skb:kfree_skb", last=True) for _ in range(3)] == [1, 2, 3]
    assert [see(one, "__kfree_skb", B) for _ in range(2)] == [4, 5]


def test_a_shared_packet_that_somebody_lets_go_lives_on() -> None:
    one = Identity()
    assert [see(one, func) for func in ("consume_skb", "kfree_skb", "ip_rcv")] == [1, 1, 1]


def test_a_release_without_an_event_ends_a_packet_and_begins_none() -> None:
    one = Identity()
    one.release(B)
    assert see(one, "ip_rcv") == 1
    one.release(A)
    assert [see(one, func) for func in ("skb_release_data", "kfree_skbmem", "ip_rcv")] == [1, 1, 2]
    assert see(one, "ip_rcv", B) == 3


def test_where_no_end_is_seen_the_socket_speaks_before_an_older_device() -> None:
    one = Identity(ends=False)
    assert one.see(A, "ip_rcv", WEB, device=2, last=False).netns == WEB
    assert one.see(A, "ip_output", HOST, device=0, last=False) == Life(1, None, HOST)
    assert one.see(A, "tcp_v4_do_rcv", 0, device=0, last=False) == Life(1, None, WEB)


def test_the_socket_that_takes_a_packet_says_where() -> None:
    """A device on another one's back, in another namespace, has received it since."""
    one = Identity()
    assert one.see(A, "net:netif_rx_entry", HOST, device=2, last=False, local=False).netns == HOST
    taken = one.see(A, "skb:skb_copy_datagram_iovec", WEB, device=0, last=False, local=False)
    assert taken == Life(1, None, WEB)
    assert one.see(B, "net:netif_rx_entry", HOST, device=2, last=False, local=False).netns == HOST
    untold = one.see(B, "skb:skb_copy_datagram_iovec", 0, device=0, last=False, local=False)
    assert untold == Life(2, None, HOST)


def test_children() -> None:
    one = Identity()
    see(one, "ip_rcv")
    one.link(B, A)
    assert one.see(B, "ip_rcv", 0, device=0, last=False) == Life(2, 1, 0)
    see(one, "kfree_skbmem")
    assert one.see(B, "ip_rcv", 0, device=0, last=False).parent == 1, "a parent may be gone"
    one.link(B, A)
    assert one.see(B, "ip_rcv", 0, device=0, last=False) == Life(3, None, 0)


def test_the_device_speaks_for_the_packet_even_when_it_is_gone() -> None:
    one = Identity()

    def netns(known: int, *, device: int) -> int:
        return one.see(A, "f", known, device=device, last=False).netns

    assert netns(0, device=0) == 0
    assert netns(HOST, device=0) == HOST, "the socket's, while there is nothing else"
    assert netns(0, device=0) == 0
    assert netns(HOST, device=2) == HOST
    assert netns(WEB, device=2) == WEB, "through a veth"
    assert netns(HOST, device=0) == WEB, "the sender's socket does not speak for it there"
    assert netns(0, device=0) == WEB


QUEUE, PROBE = "net:net_dev_queue", "tcp:tcp_probe"
READ, TABLE = "skb:skb_copy_datagram_iovec", "nft_do_chain"
RX, GRO, IN = "net:netif_rx_entry", "net:napi_gro_receive_entry", "net:netif_receive_skb"


@pytest.mark.parametrize(
    ("events", "numbers"),
    [
        # func, ifindex, whether no device has received it
        (((RX, 2, True), (IN, 2, True), (QUEUE, 3, False), (RX, 2, True)), (1, 1, 1, 1)),
        (((QUEUE, 3, True), (RX, 2, True), (IN, 2, True), (QUEUE, 3, True)), (1, 1, 1, 2)),
        (((RX, 2, True), (IN, 2, True), (PROBE, 0, False), (QUEUE, 2, True)), (1, 1, 1, 2)),
        (((GRO, 2, True), (GRO, 2, True), (IN, 2, True)), (1, 2, 2)),  # GRO has joined the first
        (((GRO, 2, True), (IN, 2, True), (RX, 5, False), (IN, 5, False)), (1, 1, 1, 1)),  # a bridge
        (((GRO, 2, True), (IN, 2, True), (PROBE, 0, False), (GRO, 3, True)), (1, 1, 1, 2)),
        (((QUEUE, 5, True), (QUEUE, 3, True)), (1, 1)),  # a tunnel
        (((RX, 2, True), (IN, 2, True), ("skb:consume_skb", 2, True)), (1, 1, 2)),
        (((RX, 2, True), (IN, 2, True), ("skb:consume_skb", 2, False)), (1, 1, 1)),
        (((RX, 2, True), (READ, 0, False), (READ, 0, False)), (1, 1, 1)),
        (((RX, 2, True), (IN, 2, True), (READ, 0, True)), (1, 1, 2)),  # of a Unix socket
        (((RX, 2, True), (TABLE, 0, True), (QUEUE, 3, True)), (1, 2, 2)),  # at OUTPUT
        (((RX, 2, True), (TABLE, 2, False), (QUEUE, 3, False)), (1, 1, 1)),  # at FORWARD
    ],
)
def test_the_way_tells_what_no_tracepoint_does(
    events: tuple[tuple[str, int, bool], ...], numbers: tuple[int, ...]
) -> None:
    one = Identity()
    found = [
        one.see(A, func, HOST, device=device, last=False, local=local).packet
        for func, device, local in events
    ]
    assert found == [*numbers]
    assert one.rough == (max(numbers) > 1)


def test_what_ipsec_takes_out_of_a_packet_is_the_same_packet() -> None:
    one = Identity()
    for sealed, number in ((True, 1), (False, 1), (False, 2)):
        seen = one.see(A, RX, HOST, device=2, last=False, local=False, sealed=sealed)
        assert seen.packet == number


def test_memory_is_bounded() -> None:
    one = Identity(limit=2)
    assert [see(one, "f", skb) for skb in (1, 2)] == [1, 2]
    assert not one.rough
    assert [see(one, "f", skb) for skb in (3, 1)] == [3, 4], "the oldest gave way"
    assert one.rough


STEPS = st.tuples(
    st.sampled_from([A, B]),
    st.sampled_from(["ip_rcv", "__kfree_skb", "kfree_skbmem", "skb:kfree_skb", "consume_skb"]),
)


@given(st.lists(STEPS))
def test_no_two_packets_share_a_number(steps: list[tuple[int, str]]) -> None:
    one = Identity()
    at: dict[int, int] = {}
    ended: set[int] = set()
    for skb, func in steps:
        number = see(one, func, skb, last=func == "skb:kfree_skb")
        assert at.setdefault(number, skb) == skb
        assert number not in ended
        if func == "kfree_skbmem":
            ended.add(number)
    assert sorted(at) == list(range(1, len(at) + 1))
