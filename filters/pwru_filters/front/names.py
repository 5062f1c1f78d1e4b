# SPDX-License-Identifier: Apache-2.0
"""Whether libpcap must look a name up: that of a host asks the DNS, which may not answer."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"[\w:][\w.:/-]*")
_NUMBER: Final = re.compile(r"[0-9][0-9a-fA-Fx.:/-]*|[0-9a-fA-F.]*:[0-9a-fA-F:./]*")
# Those of pcap-filter(7) that Ethernet knows. One that is missing here costs a process, no more.
_WORDS: Final = """
aarp ah and arp atalk broadcast byte carp clnp decnet dst esis esp ether gateway geneve greater host
icmp icmp6 icmp6code icmp6type icmpcode icmptype igmp igrp inbound ip ip6 ipx isis iso lat len
length less link llc mask mopdl moprc mpls multicast net netbeui not or outbound pim port portrange
pppoed pppoes proto protochain rarp sctp src stp tcp tcpflags udp vlan vrrp vxlan
tcp-ack tcp-cwr tcp-ece tcp-fin tcp-push tcp-rst tcp-syn tcp-urg
"""
KEYWORDS: Final = frozenset(_WORDS.split())


def has_names(expression: str) -> bool:
    """Whether there is a word that is neither a number nor a keyword. May say yes wrongly."""
    return any(
        word not in KEYWORDS and not _NUMBER.fullmatch(word) for word in _WORD.findall(expression)
    )
