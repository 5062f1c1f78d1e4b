# SPDX-License-Identifier: Apache-2.0
"""The ways of attaching, the best first."""

from __future__ import annotations

from .fentry_multi import FentryMulti
from .kprobe_events import KprobeEvents
from .kprobe_events_pair import KprobeEventsPair
from .kprobe_multi import KprobeMulti
from .kprobe_multi_pair import KprobeMultiPair
from .kprobe_perf import KprobePerf
from .kprobe_session import KprobeSession
from .probes import Probes
from .tracepoints import Tracepoints

WAYS: tuple[type[Probes], ...] = (
    FentryMulti,
    KprobeSession,
    KprobeMulti,
    KprobeMultiPair,
    KprobeEvents,
    KprobeEventsPair,
    KprobePerf,
    Tracepoints,
)
"""Those that tell of returns are for sessions that ask for them, the others for all others."""
