# SPDX-License-Identifier: Apache-2.0
"""Waits until every BPF program that runs now has ended.

Updating a map of maps returns after a grace period of RCU (maybe_wait_bpf_programs() in
kernel/bpf/syscall.c, 1ae80cf31938, 5.0), and programs are RCU readers however they are attached,
preempted or not. membarrier(2) does not wait where one CPU is online, and refuses with nohz_full.
"""

from __future__ import annotations

import os

from . import bpf


class Barrier:
    """The maps for it, made beforehand, so that waiting cannot fail for want of anything."""

    def __init__(self) -> None:
        self._inner = bpf.create_array(value_bytes=4)
        try:
            self._outer = bpf.create_array_of_maps(self._inner)
        except BaseException:
            os.close(self._inner)
            raise

    def wait(self) -> None:
        """Returns once what ran when it was called has ended. Raises LoadError."""
        bpf.update_element(self._outer, 0, self._inner)

    def close(self) -> None:
        os.close(self._outer)
        os.close(self._inner)

    def __enter__(self) -> Barrier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
