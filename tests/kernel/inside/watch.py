# SPDX-License-Identifier: Apache-2.0
"""Many expressions at once: one program for each, all attached to the same functions.

So the system is read once, and every expression sees the very same packets.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pwru_py.errors import LoadError
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Backend, Config, Engine
from pwru_py.packets.identity import Identity
from pwru_py.programs.attached import Attached, attach
from pwru_py.programs.load import load
from pwru_py.programs.prepare import Prepared, prepare
from pwru_py.programs.splice import adapt, compile_all
from pwru_py.record.decode import Decoder, DropRules, Names
from pwru_py.record.event import Event

BUFFER_BYTES = 1 << 20
OPEN_FILES = 1 << 16


class Watch:
    """Programs that record from ``attach`` on; ``""`` among the expressions records everything.

    ``adjacent``: False has the fields of the sk_buff read one by one, as on a kernel that lays
    them out as no known one does. ``engine``: where the kernel's types are from.
    """

    def __init__(
        self,
        functions: Sequence[str],
        expressions: Sequence[str],
        *,
        adjacent: bool = True,
        engine: Engine = Engine.AUTO,
    ) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        config = Config(filter_func="|".join(functions), engine=engine)
        prepared = prepare(config)
        if prepared.way.trampoline:  # runs 38 programs at a function, no more
            prepared = prepare(replace(config, backend=Backend.KPROBE_MULTI))
        # Without the program for drops, which would be loaded with each expression.
        features = replace(prepared.features, kfree_skb_arguments=0)
        if not adjacent:
            features = replace(features, adjacent=False)
        prepared = replace(prepared, features=features)
        self.functions = sorted(target.name for target in prepared.plan.targets)
        self._prepared = {e: with_filter(e, prepared) for e in expressions}
        self._attached: dict[str, Attached] = {}

    def attach(self) -> None:
        for expression, prepared in self._prepared.items():
            try:
                self._attached[expression] = attach_now(prepared)
            except LoadError as error:
                raise AssertionError(f"{expression}: {error}\n{error.log}") from error
        for attached in self._attached.values():
            assert not attached.probes.failed, attached.probes.failed

    def pause(self) -> None:
        """Ends recording."""
        for attached in self._attached.values():
            attached.pause()

    def finish(self) -> dict[str, list[Event]]:
        """The events of each expression, once recording has ended. Raises when any was lost."""
        found = {}
        for expression, attached in self._attached.items():
            found[expression] = list(events(attached))
            losses = attached.losses()
            assert not losses.buffer_full, (expression, losses)
            assert not losses.recursion, (expression, losses)
        return found

    def close(self) -> None:
        for attached in self._attached.values():
            attached.close()


def with_filter(expression: str, prepared: Prepared) -> Prepared:
    """The same session with another filter."""
    engine = prepared.config.engine
    config = Config(filter=expression, buffer_bytes=BUFFER_BYTES, engine=engine)
    compiled = adapt(compile_all(config), prepared.features)
    return replace(prepared, config=config, compiled=compiled)


def attach_now(prepared: Prepared) -> Attached:
    """Loaded and attached to every function on return."""
    wake = Wake()
    attached = attach(load(prepared, wake), wake, ())
    while not attached.probes.done:  # kprobes: the rest follows in a thread
        pass
    return attached


def events(attached: Attached) -> Iterator[Event]:
    """What has been recorded."""
    decoder = Decoder(
        attached.prepared.plan.targets,
        Names(attached.target_at, str, lambda _: False, attached.locate),
        DropRules(tracepoint=False, has_reasons=True),
        Identity(),
        skip=attached.reader.skip,
        stride=attached.reader.stride,
    )
    while attached.reader.wait(0):
        for run in attached.reader.read():
            yield from decoder.decode(run, 0)


Seen = tuple[str, str, int, str]
"""(function, interface, mark, packet as ``identity``)."""


def count(events: Sequence[Event]) -> Counter[Seen]:
    """Events by what identifies them."""
    return Counter((e.func, e.ifname, e.mark, identity(e)) for e in events)


def identity(event: Event) -> str:
    """Addresses, protocol, ports and TCP flags as the tracer tells them, and skb->len."""
    if event.tuple is None:
        return f"- {event.len}"
    saddr, daddr, sport, dport, proto, *_ = event.tuple
    return f"{saddr}>{daddr} {proto} {sport}>{dport} {event.tcp_flags} {event.len}"
