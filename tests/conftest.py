# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests: one hypothesis profile, in which a slow example is no failure.

Machines differ in speed and share their cores; a hang is pytest-timeout's to end.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("pwru", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pwru")
