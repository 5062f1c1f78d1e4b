# SPDX-License-Identifier: Apache-2.0
"""The command's entry. It takes the signals first and imports the rest afterwards."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .options.config import Config


def _leave(number: int, frame: object) -> None:
    os._exit(0)


def _say_starting(number: int, frame: object) -> None:
    try:
        os.write(2, b"pwru-py: starting, nothing is attached yet\n")
    except OSError:
        pass


def _give_up(config: Config) -> None:
    """The process is ours alone: it keeps the capabilities that it still needs."""
    from .kernel import capabilities

    come = config.traces_programs
    capabilities.keep(capabilities.WHILE_PROGRAMS_COME if come else capabilities.WHILE_TRACING)


def _take_signals() -> None:
    """A signal that comes before a session begins ends the process without a word."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup(1) has hangups ignored. A shell's background job has interrupts ignored, and
        # takes one that is sent to it all the same.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    signal.signal(signal.SIGQUIT, _say_starting)


def run() -> int:
    """``pwru-py``."""
    _take_signals()
    from .cli import main

    return main(attached=_give_up)


def run_ping() -> int:
    """``pwru-py-ping``."""
    _take_signals()
    from .ping import main_ping

    return main_ping(attached=_give_up)


if __name__ == "__main__":
    sys.exit(run())
