# SPDX-License-Identifier: Apache-2.0
"""The ratios beside their goals, and the curves of growth, as SVG; drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.growth import FIGURES
from bench.table import Row, Series

OURS, THEIRS, MISSED = "#1b6ca8", "#8a8a8a", "#c0392b"
_ROW_INCHES = 0.19


def draw(path: Path, judged: Sequence[Row], kept: dict[str, dict[str, Any]]) -> None:
    """``judged``: rows with a goal."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 8})
    curves = _curves(kept)
    height = _ROW_INCHES * (len(judged) + 4)
    figure = pyplot.figure(figsize=(13, max(height, 2.1 * len(curves))), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(9, 4))
    if judged:
        _ratios(left.subplots(), judged)
    if curves:
        for axes, (title, series) in zip(
            right.subplots(len(curves), squeeze=False)[:, 0], curves, strict=True
        ):
            _curve(axes, title, series)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _ratios(axes: Axes, judged: Sequence[Row]) -> None:
    """A dot is ours / pwru's, a bar the side of the goal where it has to be."""
    for at, row in enumerate(judged):
        assert row.ratio is not None
        assert row.goal is not None
        far = 100.0 if row.at_least else 0.001
        axes.barh(at, far - row.goal, left=row.goal, height=0.8, color="#e3efe3")
        axes.plot(max(row.ratio, 0.0015), at, "o", color=OURS if row.holds else MISSED, ms=4)
        axes.annotate(f"{row.ratio:.2f}", (max(row.ratio, 0.0015), at), (5, -2.5),
                      textcoords="offset points", fontsize=6.5)  # fmt: skip
    axes.set_yticks(range(len(judged)), [row.title.replace("`", "") for row in judged])
    axes.invert_yaxis()
    axes.margins(y=0.005)
    axes.set_xscale("log")
    axes.set_xlim(0.001, 100)
    axes.axvline(1, color=THEIRS, lw=0.8)
    axes.set_xlabel("pwru-py / pwru (1: alike). Shaded: the goal. Red: missed")


Curve = dict[str, list[tuple[float, float]]]


def _curves(kept: dict[str, dict[str, Any]]) -> list[tuple[str, Curve]]:
    found: list[tuple[str, Curve]] = []
    for kernel, entry in kept.get("growth", {}).items():
        for what, figures in FIGURES.items():
            for key, title in figures:
                series: Curve = {}
                for count, measured in entry["measured"][what]:
                    for name, one in measured.items():
                        if one.get(key):
                            series.setdefault(name, []).append((count, Series.of(one[key]).median))
                found.append((f"{kernel}: {title}, by {what}", series))
    for kernel, entry in kept.get("start", {}).items():
        for key, title, scale in (
            ("peak_kb", "peak memory, MB, by events", 1e-3),
            ("cpu_s", "CPU, s, by events", 1.0),
        ):
            series = {
                name: [(one["asked"], one[key] * scale) for one in measured["growth"]
                       if one["lines"] >= one["asked"]]
                for name, measured in entry["measured"].items()
            }  # fmt: skip
            found.append((f"{kernel}: {title}", series))
    return found


def _curve(axes: Axes, title: str, series: Curve) -> None:
    for name, points in series.items():
        color = OURS if name.startswith("pwru-py") else THEIRS
        style = "--" if name.endswith("kprobe-multi") else "-"
        axes.plot([x for x, _ in points], [y for _, y in points], style, marker="o", ms=3,
                  color=color, label=name)  # fmt: skip
    axes.set_title(title, fontsize=8)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=6.5, frameon=False)
