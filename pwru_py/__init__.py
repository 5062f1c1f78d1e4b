# SPDX-License-Identifier: Apache-2.0
"""Packet, where are you? Traces packets through the functions of the Linux kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .errors import (
        AttachError,
        CommandError,
        ExpressionError,
        FeatureUnsupportedError,
        FilterError,
        InputError,
        LoadError,
        NotFoundError,
        OutputError,
        PrivilegeError,
        PwruError,
        UsageError,
    )
    from .facts.conntrack import CtState
    from .facts.structures import Structure
    from .options.config import Backend, Config, Engine, Mark, Rules, Timestamp, Transport
    from .packets.journey import Journeys
    from .plan.functions import Plan, Skipped, Target
    from .record.event import (
        BpfProgram,
        Conntrack,
        Context,
        Dropped,
        DroppedBy,
        Event,
        Flow,
        Frame,
        Icmp,
        Losses,
        MapAccess,
        Owner,
        Placed,
        Returned,
        SkbValue,
        Step,
        Summary,
        TcpFlag,
        Tuple,
        Verdict,
    )
    from .record.journey import Change, Changed, End, Ended, Hop, Journey, Judged, Made, Way
    from .session import Tracer

__all__ = [
    "AttachError", "Backend", "BpfProgram", "Change", "Changed", "CommandError", "Config",
    "Conntrack", "Context", "CtState", "Dropped", "DroppedBy", "End", "Ended", "Engine", "Event",
    "ExpressionError", "FeatureUnsupportedError", "FilterError", "Flow", "Frame", "Hop", "Icmp",
    "InputError", "Journey", "Journeys", "Judged", "LoadError", "Losses", "Made", "MapAccess",
    "Mark", "NotFoundError", "OutputError", "Owner", "Placed", "Plan", "PrivilegeError",
    "PwruError", "Returned", "Rules", "SkbValue", "Skipped", "Step", "Structure", "Summary",
    "Target", "TcpFlag", "Timestamp", "Tracer", "Transport", "Tuple", "UsageError", "Verdict",
    "Way", "__version__",
]  # fmt: skip

_HOMES = {
    "errors": (
        "AttachError", "CommandError", "ExpressionError", "FeatureUnsupportedError",
        "FilterError", "InputError", "LoadError", "NotFoundError", "OutputError", "PrivilegeError",
        "PwruError", "UsageError",
    ),
    "facts.conntrack": ("CtState",),
    "facts.structures": ("Structure",),
    "options.config": ("Backend", "Config", "Engine", "Mark", "Rules", "Timestamp", "Transport"),
    "plan.functions": ("Plan", "Skipped", "Target"),
    "record.event": (
        "BpfProgram", "Conntrack", "Context", "Dropped", "DroppedBy", "Event", "Flow", "Frame",
        "Icmp", "Losses", "MapAccess", "Owner", "Placed", "Returned", "SkbValue", "Step", "Summary",
        "TcpFlag", "Tuple", "Verdict",
    ),
    "packets.journey": ("Journeys",),
    "record.journey": (
        "Change", "Changed", "End", "Ended", "Hop", "Journey", "Judged", "Made", "Way",
    ),
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
