# SPDX-License-Identifier: Apache-2.0
"""All expressions over all traffic, once: what the tracer showed and what tcpdump saw."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pwru_py.options.config import Engine
from tests.kernel.filter_cases import EXPRESSIONS, PAYLOAD
from tests.kernel.filter_network import EXACT, PORTS
from tests.kernel.inside import traffic
from tests.kernel.inside.capture import Capture
from tests.kernel.inside.watch import Watch, count

FUNCTIONS = (
    "dev_hard_start_xmit", "__netif_receive_skb", "tcf_classify(_ingress)?", "arp_xmit",
    "__ip_local_out", "ip_output", "ip_finish_output2", "ip_local_deliver",
    "ip6_local_out", "ip6_finish_output2", "ip6_input",
)  # fmt: skip
BEFORE_HEADERS = ("__ip_queue_xmit", "ip6_xmit")
"""Where TCP's packets have no header of the network layer yet."""
WITHOUT_HEADERS = ("", "ip or ip6 or arp", "not ip", "len > 0", "tcp")
APART = ("", "port 53", "vlan 7", "len > 100", "tcp src port 80", "ip6[6] = 0 or ip6[6] = 44")
BY_HEADERS = (
    *APART, "arp", "ether host 02:00:00:00:00:01", "vlan 100 and vlan 7", "greater 1000",
    "ip[0] & 0xf > 5", "ip[6:2] & 0x3fff != 0", "icmp6[icmp6type] = icmp6-echo", PAYLOAD[0],
)  # fmt: skip
AT = ("dev_hard_start_xmit", "__netif_receive_skb", "arp_xmit", "ip_finish_output2", "ip6_input")
"""Where a filter is tried that has its types by the kernel's headers: probes take their time."""
EXPEDITED = "/sys/kernel/rcu_expedited"
SETTLE_S = 1.0  # packets on their way to a softirq


def _counts(watch: Watch) -> dict[str, list[list[object]]]:
    """Expression to rows of function, interface, mark, packet, how often."""
    return {
        expression: [[*seen, times] for seen, times in count(events).items()]
        for expression, events in watch.finish().items()
    }


def main() -> None:
    started_s = time.monotonic()

    def lap(what: str) -> None:
        print(f"{time.monotonic() - started_s:6.1f} s: {what}", file=sys.stderr)

    expressions = (*EXPRESSIONS, *PAYLOAD)
    watch = Watch(FUNCTIONS, ["", *expressions])
    lap("compiled")
    tun = traffic.open_tun()
    watch.attach()
    early = Watch(BEFORE_HEADERS, WITHOUT_HEADERS)
    early.attach()
    apart = Watch(FUNCTIONS, APART, adjacent=False)
    apart.attach()
    by_headers = Watch(AT, BY_HEADERS, engine=Engine.BCC) if "bcc" in sys.argv else None
    watches = [watch, early, apart]
    if by_headers is not None:
        by_headers.attach()
        watches.append(by_headers)
    lap("attached")
    capture = Capture(PORTS, EXACT, expressions)
    lap("sockets opened")
    traffic.send_raw(traffic.raw_frames())
    traffic.send_stack(tun)
    time.sleep(SETTLE_S)
    lap("sent")
    captured = capture.finish()
    for recording in watches:  # all, before the neighbours are asked again
        recording.pause()
    told = {
        "shown": _counts(watch), "early": _counts(early), "apart": _counts(apart),
        "by_headers": _counts(by_headers) if by_headers else {}, **captured,
    }  # fmt: skip
    lap("read")
    json.dump({"functions": watch.functions, **told}, sys.stdout)
    sys.stdout.flush()
    # Hundreds of single probes, and the kernel waits for its grace periods at each.
    Path(EXPEDITED).write_text("1")
    for recording in watches:
        recording.close()
    Path(EXPEDITED).write_text("0")
    lap("detached")


if __name__ == "__main__":
    main()
