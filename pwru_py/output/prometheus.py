# SPDX-License-Identifier: Apache-2.0
"""Counted drops for Prometheus. Needs prometheus_client, which is imported only here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import FeatureUnsupportedError, OutputError, reason
from ..record.event import DropRow

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from .top import Look

_LABELS = ("reason", "function", "netns", "interface")
_LABELS_MAX = 1000
_OTHERS = ("others",) * 4


class DropExporter:
    """Serves what ``show`` was given last, on its own thread, until ``close``.

    ``address`` '' is 127.0.0.1. ``lost``: how many drops may be missing. The first 1000 label sets
    that are shown keep their own, as a counter must not fall; all others are one, ``others``.
    Raises FeatureUnsupportedError without prometheus_client, OutputError when it cannot listen.
    """

    def __init__(self, address: str, port: int, lost: Callable[[], int]) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise FeatureUnsupportedError(
                "`prometheus` needs the package prometheus_client: pip install prometheus_client",
                feature="prometheus_client",
            ) from None
        self._rows: Sequence[DropRow] = ()
        self._labels: set[tuple[str, ...]] = set()
        self._lost = lost
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(
                port, addr=address or "127.0.0.1", registry=registry
            )
        except OSError as error:
            raise OutputError(
                f"cannot listen on {address or '127.0.0.1'} port {port}: {reason(error)}"
            ) from error
        self.port = int(self._server.server_port)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at each scrape."""
        from prometheus_client.core import CounterMetricFamily

        drops = CounterMetricFamily(
            "pwru_drops", "Packets that the kernel dropped, by its own word.", labels=_LABELS
        )
        others = 0
        for row in self._rows:
            labels = (row.reason, row.function, str(row.netns), row.ifname)
            if labels in self._labels or len(self._labels) < _LABELS_MAX:
                self._labels.add(labels)
                drops.add_metric(labels, row.packets)
            else:
                others += row.packets
        if others:
            drops.add_metric(_OTHERS, others)
        yield drops
        lost = CounterMetricFamily(
            "pwru_events_lost", "Hits that were skipped: there may be as many drops more."
        )
        lost.add_metric((), self._lost())
        yield lost

    def show(self, rows: Sequence[DropRow], now_ns: int, look: Look) -> None:
        self._rows = rows

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
