# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from pwru_py.facts.counters import rises, silent
from pwru_py.facts.driver_counters import Loss, kind, losses


@pytest.mark.parametrize(
    ("told", "name", "loss"),
    [
        ("rx_queue_0_xdp_drops", "rx_xdp_drops", Loss.XDP),  # veth, virtio_net
        ("rx1_xdp_drop", "rx_xdp_drop", Loss.XDP),  # mlx5
        ("queue_3_rx_xdp_aborted", "rx_xdp_aborted", Loss.XDP),  # ena
        ("rx_out_of_buffer", "rx_out_of_buffer", Loss.RING),  # mlx5
        ("rx_no_buffer_count", "rx_no_buffer_count", Loss.RING),  # igb
        ("rxbds_empty", "rxbds_empty", Loss.RING),  # tg3
        ("alloc_rx_page_failed", "alloc_rx_page_failed", Loss.MEMORY),  # ixgbe
        ("rx7_buff_alloc_err", "rx_buff_alloc_err", Loss.MEMORY),  # mlx5
        ("conntrack_allowance_exceeded", "conntrack_allowance_exceeded", Loss.LIMIT),  # ena
        ("[2]: rx_discards", "rx_discards", Loss.RECEIVED),  # bnxt
        ("port.rx_dropped", "port_rx_dropped", Loss.RECEIVED),  # ice
        ("tx_discards_phy", "tx_discards_phy", Loss.SENT),  # mlx5
    ],
)
def test_what_a_name_tells(told: str, name: str, loss: Loss) -> None:
    assert losses({told: 3}) == {name: 3}
    assert kind(name) is loss
    assert silent(f"eth0: {name}").means


@pytest.mark.parametrize(
    "name",
    ["rx_dropped", "rx_missed_errors", "rx_csum_none", "hw_csum_rx_error", "rx_packets",
     "peer_ifindex", "rx_queue_0_xdp_redirect", "rx_steer_missed_packets"],
)  # fmt: skip
def test_what_is_no_loss_or_stands_elsewhere(name: str) -> None:
    assert losses({name: 3}) == {}


def test_queues_are_added_up_and_their_sum_is_not_counted_again() -> None:
    assert losses({"rx_xdp_drop": 5, "rx0_xdp_drop": 2, "rx1_xdp_drop": 3}) == {"rx_xdp_drop": 5}
    assert losses({"rx0_xdp_drop": 2, "rx1_xdp_drop": 3}) == {"rx_xdp_drop": 5}


def test_counters_of_the_kernel_are_no_driver_s() -> None:
    assert "accept queue" in silent("ListenOverflows").means
    assert rises({"eth0: rx_xdp_drops": 1}, {"eth0: rx_xdp_drops": 4}) == {"eth0: rx_xdp_drops": 3}
