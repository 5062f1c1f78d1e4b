# SPDX-License-Identifier: Apache-2.0
"""The ways of attaching, the best first."""

from __future__ import annotations

from .fentry_multi import FentryMulti
from .kprobe_events import KprobeEvents
from .kprobe_multi import KprobeMulti
from .kprobe_perf import KprobePerf
from .probes import Probes
from .tracepoints import Tracepoints

WAYS: tuple[type[Probes], ...] = (FentryMulti, KprobeMulti, KprobeEvents, KprobePerf, Tracepoints)
