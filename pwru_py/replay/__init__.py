# SPDX-License-Identifier: Apache-2.0
"""``-r FILE``: the events of a trace that ``--output-json`` has written, once more.

Lines are decoded to the events that they were, so every sink shows them as it would have. What
selects them looks at what a line has; the kernel is not asked.
"""
