# SPDX-License-Identifier: Apache-2.0
"""The command: options to a session, its events to a sink, errors to one line and a status."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO, cast

from . import streams
from .errors import LoadError, OutputError, PwruError
from .escape import printable
from .options.config import Timestamp
from .options.flags import Options, spell
from .options.parse import HelpRequested, VersionRequested, parse

if TYPE_CHECKING:
    from .command import Command
    from .output import Sink
    from .session import Tracer

_STATUS_OK, _STATUS_FAILED = 0, 1
_IDLE_S = 0.5
_notices = streams.Notices()


def main(argv: Sequence[str] | None = None, attached: Callable[[], None] = lambda: None) -> int:
    """Runs the command line and returns its exit status: 0, 1 (run error) or 2 (usage error).

    ``attached`` is called once every probe is attached.
    """
    gc.disable()  # a start makes much and drops little; a session enables it
    argv = sys.argv[1:] if argv is None else argv
    debug = any(word in ("--debug", "--debug=true") for word in argv)
    streams.fill_standard_streams()
    try:
        try:
            status = _run(parse(argv), attached)
        except (HelpRequested, VersionRequested) as wanted:
            status = _print(str(wanted))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _STATUS_OK
    except Exception as error:
        if debug and not isinstance(error, BrokenPipeError):
            _print_traceback(error)
        return _end(error)


def _end(error: Exception) -> int:
    """One line for it, and the exit status."""
    if isinstance(error, BrokenPipeError):
        streams.discard(sys.stdout)
        return _STATUS_OK
    if isinstance(error, OSError):
        streams.discard(sys.stdout)
        error = streams.refused(error, "standard output")
    if isinstance(error, PwruError):
        return _complain(str(error), error.exit_status)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return _complain(f"internal error, please report it: {what} (where: --debug)", _STATUS_FAILED)


def _print_traceback(error: Exception) -> None:
    from traceback import format_exception

    _notices.write("".join(format_exception(error)))
    if isinstance(error, LoadError) and error.log:
        _notices.write(error.log.rstrip("\n") + "\n")


def _complain(message: str, status: int) -> int:
    _notices.write(f"pwru-py: {printable(spell(message))}\n")
    return status


def _print(text: str) -> int:
    if sys.stdout is None:
        raise OutputError("standard output is closed: nothing can be printed")
    sys.stdout.write(text.rstrip("\n") + "\n")
    return _STATUS_OK


def _run(options: Options, attached: Callable[[], None]) -> int:
    if options.explain:
        from .output.explain import explain

        return _print("\n".join(explain(options.explain)) + "\n")
    if options.dump_filter:
        from .programs.prepare import filter_listing

        return _print(filter_listing(options.config))
    from .session import Tracer

    if options.list_funcs:
        return _list_functions(Tracer(options.config))
    if not options.command:
        return _trace_to(Tracer(options.config), options, attached)
    from dataclasses import replace

    from .command import Command

    with Command(options.command, own_stdout=bool(options.output_file)) as command:
        config = replace(options.config, filter_cgroup=command.group)
        _trace_to(Tracer(config), options, attached, command)
        return command.wait()


def _trace_to(
    tracer: Tracer, options: Options, attached: Callable[[], None], command: Command | None = None
) -> int:
    with streams.output(options.output_file) as stream:
        return _trace(tracer, options, stream, attached, command)


def _list_functions(tracer: Tracer) -> int:
    """The plan: function or tracepoint, position of its sk_buff, module; what is left out."""
    from .facts.tables import TABLE_FUNCTIONS
    from .output.summary import plural

    plan = tracer.plan()
    if not plan.targets and not plan.skipped:
        raise tracer.nothing_to_trace()
    names = [target.name for target in plan.traced] + [skipped.name for skipped in plan.skipped]
    width = max(map(len, names))
    lines = [f"{'FUNC':<{width}}  ARG  MODULE"]
    for target in sorted(plan.traced):
        lines.append(f"{target.name:<{width}}  {target.arg:<3}  {target.module or 'vmlinux'}")
    for name in plan.tables:
        lines.append(f"{name:<{width}}  -    {TABLE_FUNCTIONS[name]}  for its verdicts")
    for skipped in sorted(plan.skipped):
        module = skipped.module or "vmlinux"
        lines.append(f"{skipped.name:<{width}}  -    {module}  skipped: {skipped.why}")
    _print("\n".join(lines))
    sys.stdout.flush()
    more = f", {plural(len(plan.tracepoints), 'tracepoint')}" if plan.tracepoints else ""
    traced = f"{plural(len(plan.targets), tracer.target)}{more}"
    _notices.write(f"{traced}, {len(plan.skipped)} skipped\n")
    return _STATUS_OK


def _sink(tracer: Tracer, options: Options, stream: TextIO) -> Sink:
    if options.config.journey:
        from .facts.tables import NFTABLES
        from .journeys import sink_of

        rules = NFTABLES in tracer.plan().tables
        kind = sink_of(options)
        return kind(stream, options, cast(TextIO, _notices), tracer.stop, rules=rules)
    from .output import View, json_sink, table_sink, text_sink

    timestamp = options.timestamp
    if options.config.drops and timestamp is Timestamp.NONE:
        timestamp = Timestamp.ABSOLUTE
    view = View(
        meta=options.output_meta,
        tuple=options.output_tuple,
        tcp_flags=options.output_tcp_flags,
        stack=options.output_stack,
        packet_id=options.output_packet_id,
        netns_names=options.output_netns_names,
        netns_name_max=options.netns_names_max_length,
        drops=options.config.drops,
        counts=options.config.top,
        timestamp=timestamp,
    )
    if options.output_json:
        return json_sink(stream, view)
    if stream.isatty():
        return table_sink(stream, view)
    return text_sink(stream, view, notices=cast(TextIO, _notices))


def _trace(
    tracer: Tracer,
    options: Options,
    stream: TextIO,
    attached: Callable[[], None],
    command: Command | None,
) -> int:
    from .output.summary import plural
    from .signals import Signals

    tracer.plan()  # it attaches nothing and may take a while: a signal still ends it at once
    sink = _sink(tracer, options, stream)

    def ready() -> None:
        _all_attached(options)
        if command is not None:
            settled = getattr(sink, "settled", lambda: True)
            command.start(settled, options.journey_timeout_s + _IDLE_S, tracer.stop)
        attached()

    with Signals(tracer, command):
        with tracer:
            warnings = tracer.warnings
            _warn(warnings)
            streams.empty(stream, options.output_file)
            if _notices.isatty():
                _done, total = tracer.progress
                points = len(tracer.plan().tracepoints)
                if tracer.target == "tracepoint":
                    total, points = total + points, 0
                more = f" and {plural(points, 'tracepoint')}" if points else ""
                traced = f"{plural(total, tracer.target)}{more}"
                _notices.write(f"listening on {traced}, Ctrl-C ends it\n")
            if options.config.top and not options.summary_only:
                from .top import show_top

                show_top(tracer, options, stream, ready)
            else:
                if not options.summary_only:
                    sink.start()
                try:
                    _pump(tracer, sink, ready, options)
                finally:
                    sink.progress(0, 0)  # whatever comes now, without a progress bar
            _say_detaching(tracer)
        _warn(tracer.warnings[len(warnings) :])
        sink.losses(tracer.summary.losses)
        sink.finish(tracer.summary)
    if not stream.isatty() or options.output_json:
        from .output.summary import summary_lines

        for line in summary_lines(tracer.summary, seen=not options.config.top):
            _notices.write(f"{line}\n")
    if options.config.drops:
        from .output.summary import explained_drops

        for line in explained_drops(tracer.summary):
            _notices.write(f"{printable(line)}\n")
    if options.debug:
        for name, number in tracer.failures:
            _notices.write(f"not attached: {name}: {os.strerror(number)}\n")
    return _STATUS_OK


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        _notices.write(f"pwru-py: {printable(spell(warning))}\n")


def _all_attached(options: Options) -> None:
    """Once, when everything is attached."""
    gc.freeze()  # what a start made stays
    gc.enable()
    if options.ready_file:
        streams.make_ready_file(options.ready_file)


def _pump(tracer: Tracer, sink: Sink, attached: Callable[[], None], options: Options) -> None:
    """Events to the sink until a signal or the line limit."""
    ready = False
    for batch in tracer.batches(_IDLE_S):
        if not ready:
            sink.progress(*tracer.progress)
            if tracer.attached:
                ready = True
                attached()
        if not options.summary_only:
            sink.events(batch)
        sink.losses(tracer.summary.losses)


def _say_detaching(tracer: Tracer) -> None:
    """Many single kprobes take their time to leave: say so, once."""
    done, _total = tracer.progress
    if done > 200 and tracer.detaching_is_slow:
        _notices.write(f"pwru-py: detaching {done} kprobes, the kernel takes its time\n")
