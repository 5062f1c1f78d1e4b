# SPDX-License-Identifier: Apache-2.0
"""What drivers count, as ``ethtool -S`` has it: ioctl SIOCETHTOOL (include/uapi/linux/ethtool.h).

It needs no capability.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..facts.driver_counters import losses

if TYPE_CHECKING:
    from .rtnetlink import Link

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSTATS, _GSSET_INFO, _STATISTICS = 0x1B, 0x1D, 0x37, 1  # ETH_SS_STATS
_SET_INFO = struct.Struct("=IIQI")  # struct ethtool_sset_info and one number
_STRINGS = struct.Struct("=III")  # struct ethtool_gstrings
_STATS = struct.Struct("=II")  # struct ethtool_stats
_REQUEST = struct.Struct("@16sP")  # struct ifreq
_NAME_BYTES = 32
_SPARE = 256  # counters that may come between two calls
_DEVICES_MAX = 256
_KINDS = ("", "veth")
"""Of devices whose driver counts: hardware has no kind."""


class DriverCounters:
    """Of devices in the namespace in which this is made. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def read(self, ifname: str) -> dict[str, int]:
        """Every counter by the driver's name for it; none where it has none. Raises OSError."""
        count = self._count(ifname)
        if not count:
            return {}
        room = count + _SPARE
        names = ctypes.create_string_buffer(
            _STRINGS.pack(_GSTRINGS, _STATISTICS, count), _STRINGS.size + room * _NAME_BYTES
        )
        self._ask(ifname, names)
        values = ctypes.create_string_buffer(
            _STATS.pack(_GSTATS, count), _STATS.size + room * ctypes.sizeof(ctypes.c_uint64)
        )
        self._ask(ifname, values)
        found = {}
        for at in range(count):
            raw = names.raw[_STRINGS.size + at * _NAME_BYTES :][:_NAME_BYTES]
            (value,) = struct.unpack_from("=Q", values.raw, _STATS.size + at * 8)
            found[raw.partition(b"\0")[0].decode(errors="replace").strip()] = value
        return found

    def losses(self, links: Mapping[str, Link]) -> dict[str, dict[str, int]]:
        """By interface: see ``facts.driver_counters.losses``."""
        asked = [name for name, link in links.items() if link.kind in _KINDS][:_DEVICES_MAX]
        found = {}
        for name in asked:
            try:
                found[name] = losses(self.read(name))
            except OSError:  # it does not count, or has gone
                continue
        return found

    def _count(self, ifname: str) -> int:
        info = ctypes.create_string_buffer(
            _SET_INFO.pack(_GSSET_INFO, 0, 1 << _STATISTICS, 0), _SET_INFO.size
        )
        self._ask(ifname, info)
        _, _, known, count = _SET_INFO.unpack(info.raw)
        return int(count) if known else 0

    def _ask(self, ifname: str, buffer: ctypes.Array[ctypes.c_char]) -> None:
        request = _REQUEST.pack(os.fsencode(ifname), ctypes.addressof(buffer))
        fcntl.ioctl(self._socket, _SIOCETHTOOL, request)

    def close(self) -> None:
        self._socket.close()
