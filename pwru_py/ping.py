# SPDX-License-Identifier: Apache-2.0
"""``pwru-py-ping``: ping(8), and the journeys of its packets."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence

from .cli import main
from .options.config import Config
from .options.flags import BY_NAME

USAGE = """\
usage: pwru-py-ping [--FLAG[=VALUE] ...] [ping's own flags] TARGET

Runs ping and shows the way of each request and reply from device to device.
Flags with two dashes are pwru-py's (see pwru-py --help), all others are ping's.
What ping itself prints goes to standard error. The exit status is ping's.

  pwru-py-ping -c1 172.17.0.2                 once
  pwru-py-ping --tracepkt -c1 172.17.0.2      a line a hop, as it comes
  pwru-py-ping --output-json -c1 ::1          one JSON object a packet
"""


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ours and ping's; behind ``--`` all is ping's."""
    ours: list[str] = []
    words = [*argv]
    theirs: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            return ours, [*theirs, *words]
        if not word.startswith("--"):
            theirs.append(word)
            continue
        ours.append(word)
        flag = BY_NAME.get(word)  # none of one with its value
        if flag is not None and flag.metavar and words:
            ours.append(words.pop(0))
    return ours, theirs


def main_ping(
    argv: Sequence[str] | None = None, attached: Callable[[Config], None] = lambda config: None
) -> int:
    """As ``cli.main``."""
    ours, theirs = split(sys.argv[1:] if argv is None else argv)
    if not theirs and "--version" not in ours:
        stream, status = (sys.stdout, 0) if "--help" in ours else (sys.stderr, 2)
        print(USAGE, end="", file=stream)
        return status
    paths = {"--journey-map", "--journey"} & {*ours}
    journey = [] if paths else ["--journey"]
    return main([*journey, *ours, "--exec", shlex.join(["ping", *theirs])], attached)
