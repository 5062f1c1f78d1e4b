# SPDX-License-Identifier: Apache-2.0
"""Packet, where are you? Traces packets through the functions of the Linux kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .errors import (
        AttachError,
        CommandError,
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
    from .packets.journey import Journeys
    from .plan.functions import Plan, Skipped, Target
    from .record.event import (
        Context,
        Dropped,
        Event,
        Flow,
        Frame,
        Icmp,
        Losses,
        Summary,
        TcpFlag,
        Tuple,
        Verdict,
    )
    from .record.journey import Change, Changed, End, Ended, Hop, Journey, Judged, Way
    from .session import Tracer

__all__ = [
    "AttachError", "Backend", "Change", "Changed", "CommandError", "Config", "Context", "Dropped",
    "End", "Ended", "Event", "FeatureUnsupportedError", "FilterError", "Flow", "Frame", "Hop",
    "Icmp", "Journey", "Journeys", "Judged", "LoadError", "Losses", "Mark", "NotFoundError",
    "OutputError", "Plan", "PrivilegeError", "PwruError", "Skipped", "Summary", "Target", "TcpFlag",
    "Timestamp", "Tracer", "Transport", "Tuple", "UsageError", "Verdict", "Way", "__version__",
]  # fmt: skip

_HOMES = {
    "errors": (
        "AttachError", "CommandError", "FeatureUnsupportedError", "FilterError", "LoadError",
        "NotFoundError", "OutputError", "PrivilegeError", "PwruError", "UsageError",
    ),
    "options.config": ("Backend", "Config", "Mark", "Timestamp", "Transport"),
    "plan.functions": ("Plan", "Skipped", "Target"),
    "record.event": (
        "Context", "Dropped", "Event", "Flow", "Frame", "Icmp", "Losses", "Summary", "TcpFlag",
        "Tuple", "Verdict",
    ),
    "packets.journey": ("Journeys",),
    "record.journey": ("Change", "Changed", "End", "Ended", "Hop", "Journey", "Judged", "Way"),
    "session": ("Tracer",),
}  # fmt: skip
"""Module to the public names that it defines."""

if not TYPE_CHECKING:  # else a checker would take every name

    def __getattr__(name: str) -> object:
        """Modules are imported when first asked for: ``--help`` needs none of them."""
        from importlib import import_module

        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f".{home}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
