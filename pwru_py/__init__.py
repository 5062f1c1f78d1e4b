# SPDX-License-Identifier: Apache-2.0
"""Packet, where are you? Traces packets through the functions of the Linux kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .errors import PwruError
    from .options.config import Backend, Config, Mark, Timestamp, Transport
    from .record.event import Context, Event, Frame, Icmp, Losses, Summary, TcpFlag, Tuple
    from .session import Tracer

_WHERE = {
    "Backend": "options.config", "Config": "options.config", "Mark": "options.config",
    "Timestamp": "options.config", "Transport": "options.config", "PwruError": "errors",
    "Context": "record.event", "Event": "record.event", "Frame": "record.event",
    "Icmp": "record.event", "Losses": "record.event", "Summary": "record.event",
    "TcpFlag": "record.event", "Tuple": "record.event", "Tracer": "session",
}  # fmt: skip

__all__ = [
    "Backend", "Config", "Context", "Event", "Frame", "Icmp", "Losses", "Mark", "PwruError",
    "Summary", "TcpFlag", "Timestamp", "Tracer", "Transport", "Tuple", "__version__",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Modules are imported when first asked for: ``--help`` needs none of them."""
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
