# SPDX-License-Identifier: Apache-2.0
"""Gathers evidence beside a session, for the case that it ends without an event.

Of every session counters are read, at its beginning and end. With ``sampling`` a second session,
without a filter, at four tracepoints, keeps a bounded sample of packets until the first has an
event.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import PwruError
from ..kernel import bpf, netns
from ..kernel.traffic import Traffic
from ..options.config import Backend, Config
from ..record.empty import Explanation
from ..session import Tracer

if TYPE_CHECKING:
    from ..facts.traffic import Translated
    from .evidence import Ask, Evidence, Namespace, Sampled
    from .sample import Sample
    from .weigh import Questions

_POINTS = "net:net_dev_queue|net:netif_receive_skb|skb:kfree_skb|skb:consume_skb"
_BUFFER_BYTES = 1 << 18  # some 600 records: what comes in a pause finds no more room
_RECORDS = 600
_PAUSE_S = 0.2
_NAMESPACES_MAX = 64  # each keeps four files open
_HOSTS_MAX = 4
_OWN = "this namespace"


class Watch:
    """Entered before the session is, and asked behind it. ``warnings``: what it cannot do."""

    def __init__(self, tracer: Tracer, *, sampling: bool) -> None:
        self._tracer, self._config = tracer, tracer.config
        self._inode, self._path = 0, ""
        self._names: netns.NetnsNames | None = None
        self._traffic: dict[int, Traffic] = {}
        self._sampler = _Sampler(tracer) if sampling else None
        self._stats = -1
        self._hits: int | None = None
        self.warnings: list[str] = []

    def __enter__(self) -> Watch:
        config = self._config
        if config.filter_netns:
            self._inode, self._path = netns.resolve(config.filter_netns)
        elif config.filter_ifname:
            self._inode = netns.current_inode()
        own = self._inode or netns.current_inode()
        if self._path or not config.filter_netns:
            self._traffic[own] = Traffic(self._path)
        if self._sampler is not None:
            try:
                self._enter_sampler(self._sampler)
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def _enter_sampler(self, sampler: _Sampler) -> None:
        self._names = names = netns.NetnsNames(devices=False)
        for inode, path in names.paths():
            if len(self._traffic) < _NAMESPACES_MAX and inode not in self._traffic:
                self._traffic[inode] = Traffic(path)
        with contextlib.suppress(PwruError):
            self._stats = bpf.count_runs()
        try:
            sampler.start()
        except PwruError as error:
            self._sampler = None
            self.warnings.append(f"packets are not sampled: {error}")

    def begin(self) -> None:
        """Every probe is attached: what passes from here on counts."""
        if self._sampler is not None:
            self._sampler.begin()

    def end(self) -> None:
        """Before the session's probes go."""
        if self._stats >= 0:
            self._hits = self._tracer.hits()
        if self._sampler is not None:
            self._sampler.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sampler is not None:
            self._sampler.stop()
        for traffic in self._traffic.values():
            traffic.close()
        if self._stats >= 0:
            os.close(self._stats)
            self._stats = -1

    def why(self) -> Explanation | None:
        """None where there were events, or drops where those were asked for, and where there is
        nothing to tell."""
        summary = self._tracer.summary
        if summary.events or (self._config.drops and summary.drops):
            return None
        from .causes import explain

        told = explain(self._evidence())
        return told if told.causes or told.facts else None

    def _evidence(self) -> Evidence:
        from .evidence import Evidence

        summary, plan = self._tracer.summary, self._tracer.plan()
        ask = self._ask()
        namespaces = tuple(self._namespace(ask, inode) for inode in self._traffic)
        addresses = [host.address for host in ask.hosts]
        known = tuple(
            pair for each in self._traffic.values() for pair in each.translated(addresses)
        )
        return Evidence(
            ask,
            self._tracer.target,
            summary.attached,
            summary.failed,
            len(plan.skipped),
            self._hits,
            summary.tagged,
            namespaces,
            known,
            self._sampled(ask, namespaces, known),
        )

    def _ask(self) -> Ask:
        from pwru_filters import named_hosts

        from .evidence import Ask

        config, mark = self._config, self._config.filter_mark
        return Ask(
            config.filter,
            named_hosts(config.filter),
            self._inode,
            self._name(self._inode) if self._inode else "",
            config.filter_ifname,
            mark.value if mark else 0,
            mark.mask if mark else 0,
            bool(config.filter_cgroup) or config.chooses_owners,
            bool(config.filter_func),
            config.drops,
            bool(config.filter_tunnel_l2 or config.filter_tunnel_l3),
            bool(config.filter_ct_state or config.filter_ct_mark),
        )

    def _name(self, inode: int) -> str:
        if self._names is not None:
            return self._names.name(inode)
        return self._config.filter_netns or _OWN

    def _namespace(self, ask: Ask, inode: int) -> Namespace:
        from .evidence import Namespace

        traffic = self._traffic[inode]
        no_routes = traffic.no_routes()
        asked = inode == (self._inode or netns.current_inode())
        hosts = [host.address for host in ask.hosts if host.role != "src"][:_HOSTS_MAX]
        routes = [traffic.route(host) for host in hosts] if asked or no_routes else []
        found = tuple(route for route in routes if route is not None)
        return Namespace(self._name(inode), asked, traffic.devices(), no_routes, found)

    def _sampled(
        self, ask: Ask, namespaces: tuple[Namespace, ...], known: tuple[Translated, ...]
    ) -> Sampled | None:
        if self._sampler is None or self._names is None:
            return None
        from .weigh import weigh

        sampler = self._sampler
        watched = [
            (inode, device.ifname)
            for inode, namespace in zip(self._traffic, namespaces, strict=True)
            for device in namespace.devices
            if device.xdp
        ]
        return weigh(
            sampler.sample,
            sampler.questions(ask),
            seconds=sampler.seconds,
            missed=sampler.missed,
            known=known,
            name=self._names.name,
            watched=watched,
        )


class _Sampler:
    """A session of its own, read in a thread; it ends when the other one has an event."""

    def __init__(self, tracer: Tracer) -> None:
        from .sample import Sample

        self._other = tracer
        self._tracer = Tracer(
            Config(
                filter_func=_POINTS,
                backend=Backend.TRACEPOINT,
                kernel_btf=tracer.config.kernel_btf,
                engine=tracer.config.engine,
                output_frame=True,
                buffer_bytes=_BUFFER_BYTES,
            )
        )
        self.sample: Sample = Sample()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._begun_s = self._ended_s = 0.0
        self._missed_before = 0
        self._started = False

    def start(self) -> None:
        """Raises PwruError when this kernel lets no program at tracepoints."""
        self._tracer.__enter__()
        self._started = True
        self._thread.start()

    def begin(self) -> None:
        self._missed_before = self._tracer.losses().buffer_full
        self._begun_s = time.monotonic()

    def _read(self) -> None:
        read = 0
        for batch in self._tracer.batches(_PAUSE_S):
            if self._begun_s:
                self.sample.add(batch)
            read += len(batch)
            if read >= _RECORDS and not self._ended_s:
                read = 0
                time.sleep(_PAUSE_S)
            if self._other.summary.events or self.sample.full:
                self._tracer.stop()

    def stop(self) -> None:
        """May be called again."""
        if not self._started:
            return
        self._started = False
        self._ended_s = time.monotonic()
        self._tracer.stop()
        self._thread.join()
        self._tracer.close()

    @property
    def seconds(self) -> float:
        return self._ended_s - self._begun_s if self._begun_s else 0.0

    @property
    def missed(self) -> int:
        """Records that found no room."""
        return max(0, self._tracer.summary.losses.buffer_full - self._missed_before)

    def questions(self, ask: Ask) -> Questions:
        """Compiled when the trace has ended empty."""
        from .weigh import Questions

        return Questions(ask)
