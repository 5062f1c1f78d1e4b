# SPDX-License-Identifier: Apache-2.0
"""Paths of packets as a report: text, or JSON.

A path is a block: how many packets took it, a line for each hop with the time since the hop before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..record.journey import Ended
from ..record.paths import Edge, Path, Times, edges
from .formats import cell_width, pad
from .journey import LOST, Names, dropper, finish_text, place_text
from .summary import plural
from .verdicts import DROPPED_BY_SCHEMA, json_dropped_by

_TITLES = ("minimum", "median", "99 %", "maximum")
_CELLS = 9


def path_lines(paths: Sequence[Path], packets: int, others: int, names: Names) -> list[str]:
    """A report: ``packets`` in all, ``others`` on paths that are not told apart."""
    lines = [f"{plural(packets, 'packet')} on {plural(len(paths), 'path')}"]
    for number, path in enumerate(paths, 1):
        lines += ["", *_path_lines(number, path, packets, names)]
    if others:
        lines += ["", f"{plural(others, 'packet')} on other paths"]
    return lines


def map_lines(paths: Sequence[Path], packets: int, others: int, names: Names) -> list[str]:
    """The same, a line for each path: ``412  [a] e0 ─415✘3─► [r] e1 ──► e2  ✔ read by ping``.

    A namespace is named where it is another than before. An arrow that other paths have, too, says
    how many packets went that way, and how many of them were dropped where it ends.
    """
    crossed = edges(paths)
    lines = [f"{plural(packets, 'packet')} on {plural(len(paths), 'path')}"]
    width = len(str(max((path.packets for path in paths), default=0)))
    for path in paths:
        way, place = "", -1
        for before, stop in zip((None, *path.stops), path.stops, strict=False):
            arrow = _arrow(crossed[before, stop], path.packets) if before is not None else ""
            shown = f"{place_text(names.name(stop.netns))} " if stop.netns != place else ""
            way += f"{arrow}{shown}{stop.ifname}"
            place = stop.netns
        if path.finish.netns != place:
            way += f"{' ──► ' if way else ''}{place_text(names.name(path.finish.netns))}"
        lines.append(f"{path.packets:{width}}  {way}  {finish_text(path, names)}")
    if others:
        lines.append(f"{others:{width}}  on other paths")
    return lines


def _arrow(edge: Edge, packets: int) -> str:
    """Of a path that ``packets`` took."""
    if edge.packets == packets:
        return " ──► "
    dropped = f"{LOST}{edge.dropped}" if edge.dropped else ""
    return f" ─{edge.packets}{dropped}─► "


def _path_lines(number: int, path: Path, packets: int, names: Names) -> list[str]:
    finish = path.finish
    places = [
        place_text(names.name(netns)) for netns in (*(s.netns for s in path.stops), finish.netns)
    ]
    wide = max(map(cell_width, places))
    texts = [f"{stop.way:<3}  {stop.ifname}" for stop in path.stops] + [finish_text(path, names)]
    rows = [f"{pad(place, wide)}  {text}" for place, text in zip(places, texts, strict=True)]
    width = max(map(cell_width, rows)) + 2
    share = f"{100 * path.packets / packets:.1f} %"
    head = f"path {number}: {plural(path.packets, 'packet')}, {share}"
    titles = "".join(f"{title:>{_CELLS}}" for title in _TITLES)
    lines = [f"{pad(head, width + 2)}{titles} ms" if path.stops else head]
    for index, row in enumerate(rows):
        if index == 0:
            lines.append(f"  {row}")
            continue
        lines.append(f"  {pad(row, width)}{_times_text(path.times[index - 1])}".rstrip())
    if len(rows) > 2:
        lines.append(f"  {pad('whole', width)}{_times_text(path.whole)}")
    return lines


def _times_text(times: Times) -> str:
    values = (times.minimum, times.quantile(0.5), times.quantile(0.99), times.maximum)
    return "".join(f"{ns / 1e6:{_CELLS}.3f}" for ns in values)


def json_paths(
    paths: Sequence[Path], packets: int, others: int, wall_ns: int, names: Names
) -> dict[str, Any]:
    """As ``PATHS_SCHEMA`` describes."""
    return {
        "type": "paths",
        "time_ns": wall_ns,
        "packets": packets,
        "others": others,
        "paths": [
            {
                "packets": path.packets,
                "hops": [
                    {
                        "netns": stop.netns,
                        "namespace": names.name(stop.netns),
                        "iface": stop.ifname,
                        "way": stop.way.value,
                    }
                    for stop in path.stops
                ],
                "end": {
                    "how": path.finish.how.value,
                    "netns": path.finish.netns,
                    "namespace": names.name(path.finish.netns),
                    "by": path.finish.by,
                    "reason": path.finish.reason or None,
                    "verdict": json_dropped_by(dropper(path.finish, names)),
                    "sure": path.finish.sure,
                },
                "times": [_json_times(times) for times in path.times],
                "whole": _json_times(path.whole),
            }
            for path in paths
        ],
    }


def _json_times(times: Times) -> dict[str, int]:
    return {
        "minimum_ns": times.minimum,
        "median_ns": times.quantile(0.5),
        "p99_ns": times.quantile(0.99),
        "maximum_ns": times.maximum,
    }


_INTEGER = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_TIMES = {
    "type": "object",
    "properties": dict.fromkeys(("minimum_ns", "median_ns", "p99_ns", "maximum_ns"), _INTEGER),
    "required": ["minimum_ns", "median_ns", "p99_ns", "maximum_ns"],
}  # fmt: skip

PATHS_SCHEMA: dict[str, Any] = {
    "title": "Paths",
    "description": "A report of --journey --top.",
    "type": "object",
    "properties": {
        "type": {"const": "paths"},
        "time_ns": {"description": "When, ns since the epoch.", "type": "integer"},
        "packets": {**_INTEGER, "description": "Whose journeys are over, so far."},
        "others": {**_INTEGER, "description": "Of these, on paths that are not told apart."},
        "paths": {
            "description": "The one that most packets took first.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "packets": _INTEGER,
                    "hops": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "netns": _INTEGER,
                                "namespace": _TEXT,
                                "iface": _TEXT,
                                "way": {"enum": ["in", "out"]},
                            },
                            "required": ["netns", "namespace", "iface", "way"],
                        },
                    },
                    "end": {
                        "description": "As in a journey; by without numbers.",
                        "type": "object",
                        "properties": {
                            "how": {"enum": [how.value for how in Ended]},
                            "netns": _INTEGER,
                            "namespace": _TEXT,
                            "by": _TEXT,
                            "reason": {"type": ["string", "null"]},
                            "verdict": DROPPED_BY_SCHEMA,
                            "sure": {"type": "boolean"},
                        },
                        "required": [
                            "how",
                            "netns",
                            "namespace",
                            "by",
                            "reason",
                            "verdict",
                            "sure",
                        ],
                    },
                    "times": {
                        "description": "From each hop to the next, and to the end; quantiles are "
                        "right to one per cent.",
                        "type": "array",
                        "items": _TIMES,
                    },
                    "whole": {**_TIMES, "description": "From the first sight to the end."},
                },
                "required": ["packets", "hops", "end", "times", "whole"],
            },
        },
    },
    "required": ["type", "time_ns", "packets", "others", "paths"],
}
"""A line of ``--journey --top --output-json``."""
