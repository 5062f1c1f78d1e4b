# SPDX-License-Identifier: Apache-2.0
"""Packet, where are you? Traces packets through the functions of the Linux kernel."""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False  # what it means is known without importing typing

if TYPE_CHECKING:
    from .errors import (
        AttachError,
        FeatureUnsupportedError,
        FilterError,
        LoadError,
        NotFoundError,
        OutputError,
        PrivilegeError,
        PwruError,
        UsageError,
    )
    from .options.config import Backend, Config, Mark, Timestamp, Transport
    from .plan.functions import Plan, Skipped, Target
    from .record.event import Context, Event, Frame, Icmp, Losses, Summary, TcpFlag, Tuple
    from .session import Tracer

_MODULES = {
    "errors": (
        "AttachError FeatureUnsupportedError FilterError LoadError NotFoundError "
        "OutputError PrivilegeError PwruError UsageError"
    ),
    "options.config": "Backend Config Mark Timestamp Transport",
    "plan.functions": "Plan Skipped Target",
    "record.event": "Context Event Frame Icmp Losses Summary TcpFlag Tuple",
    "session": "Tracer",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AttachError",
    "Backend",
    "Config",
    "Context",
    "Event",
    "FeatureUnsupportedError",
    "FilterError",
    "Frame",
    "Icmp",
    "LoadError",
    "Losses",
    "Mark",
    "NotFoundError",
    "OutputError",
    "Plan",
    "PrivilegeError",
    "PwruError",
    "Skipped",
    "Summary",
    "Target",
    "TcpFlag",
    "Timestamp",
    "Tracer",
    "Transport",
    "Tuple",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Modules are imported when first asked for: ``--help`` needs none of them."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
