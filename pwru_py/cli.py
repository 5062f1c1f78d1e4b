# SPDX-License-Identifier: Apache-2.0
"""The command: options to a session, its events to a sink, errors to one line and a status."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, TextIO, cast

from . import streams
from .errors import InputError, LoadError, OutputError, PwruError
from .escape import printable
from .options.config import Config
from .options.flags import ROTATED_BYTES, Options, spell
from .options.parse import HelpRequested, VersionRequested, parse

if TYPE_CHECKING:
    from .advice.case import Advice
    from .advisor import Advisor
    from .command import Command
    from .output import Sink, View
    from .record.empty import Explanation
    from .record.event import BpfProgram, Summary
    from .session import Tracer

_STATUS_OK, _STATUS_FAILED = 0, 1
_IDLE_S = 0.5
_BENEATH = "      "
_COMPLETE = "--complete"
_notices = streams.Notices()


def main(
    argv: Sequence[str] | None = None, attached: Callable[[Config], None] = lambda config: None
) -> int:
    """Runs the command line and returns its exit status: 0, 1 (run error) or 2 (usage error).

    ``attached`` is called once every probe is attached, with what the session is asked.
    """
    gc.disable()  # a start makes much and drops little; a session enables it
    argv = sys.argv[1:] if argv is None else argv
    debug = any(word in ("--debug", "--debug=true") for word in argv)
    streams.fill_standard_streams()
    try:
        try:
            asked = argv[0] == _COMPLETE if argv else False
            status = _offer(argv[1:]) if asked else _run(parse(argv), attached)
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


def _offer(asked: Sequence[str]) -> int:
    """What a script of ``--completion`` asks."""
    from .offers import offers

    found = offers(*(*asked, "", "")[:2])
    return _print("\n".join(found)) if found else _STATUS_OK


def _run(options: Options, attached: Callable[[Config], None]) -> int:
    if options.man:
        from .options.manual import manual

        return _print(manual())
    if options.completion:
        from .options.completion import script

        return _print(script(options.completion))
    if options.read_file:
        return _replay(options)
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
    tracer: Tracer,
    options: Options,
    attached: Callable[[Config], None],
    command: Command | None = None,
) -> int:
    with _output(options) as stream:
        return _trace(tracer, options, stream, attached, command)


def _output(options: Options) -> AbstractContextManager[TextIO]:
    name = options.output_file
    if not options.rotates:
        return streams.output(name)
    from .rotation import Limits, rotated

    limits = Limits(
        options.output_file_max_bytes or ROTATED_BYTES,
        options.output_file_max_age_s,
        options.output_file_max_backups,
        options.output_file_compress,
    )
    return streams.output(name, rotated(name, limits, lambda trouble: _warn([trouble])))


def _list_functions(tracer: Tracer) -> int:
    """The plan: function or tracepoint, position of its sk_buff, module; what is left out; sets."""
    from .facts.function_sets import SETS, matcher
    from .facts.tables import TABLE_FUNCTIONS
    from .output.summary import plural

    _say_compiling(tracer)
    plan = tracer.plan()
    if not plan.targets and not plan.skipped:
        raise tracer.nothing_to_trace()
    programs = _bpf_programs(tracer.config)
    names = [target.name for target in plan.traced] + [skipped.name for skipped in plan.skipped]
    names += [program.name for program, _why in programs]
    width = max(map(len, names))
    lines = [f"{'FUNC':<{width}}  ARG  MODULE"]
    for target in sorted(plan.targets + plan.tracepoints):
        module, within = target.module or "vmlinux", "" if target.arg else "  within others"
        source = "" if target.name not in plan.sources else f"  {plan.sources[target.name]}"
        lines.append(f"{target.name:<{width}}  {target.arg or '-':<3}  {module}{within}{source}")
    if plan.ends:
        lines.append(f"{plan.ends:<{width}}  -    vmlinux  for the ends of packets")
    for name in plan.tables:
        lines.append(f"{name:<{width}}  -    {TABLE_FUNCTIONS[name]}  for its verdicts")
    for program, why in programs:
        more = f"  skipped: {why}" if why else ""
        lines.append(f"{program.name:<{width}}  -    bpf  {program.kind}, id {program.id}{more}")
    for skipped in sorted(plan.skipped):
        module = skipped.module or "vmlinux"
        lines.append(f"{skipped.name:<{width}}  -    {module}  skipped: {skipped.why}")
    lines += ["", f"{'SET':<{width}}  FUNCS"]
    for name, each in SETS.items():
        count = sum(map(bool, map(matcher(f"@{name}"), (target.name for target in plan.targets))))
        lines.append(f"{f'@{name}':<{width}}  {count:<5}  {each.purpose}")
    _print("\n".join(lines))
    sys.stdout.flush()
    more = f", {plural(len(plan.tracepoints), 'tracepoint')}" if plan.tracepoints else ""
    traced = f"{plural(len(plan.targets), tracer.target)}{more}"
    _notices.write(f"{traced}, {len(plan.skipped)} skipped\n")
    return _STATUS_OK


def _bpf_programs(config: Config) -> list[tuple[BpfProgram, str]]:
    """Those that are there and would be traced; why each cannot be, or ''."""
    if not config.traces_programs:
        return []
    from .attach.bpf_programs import loaded_programs

    return [*loaded_programs(config.program_kinds)]


def _sink(tracer: Tracer, options: Options, stream: TextIO) -> Sink:
    if options.config.journey:
        from .journeys import sink_of

        replaced = tracer.rules_replaced if tracer.plan().tables else None
        kind = sink_of(options)
        return kind(stream, options, cast(TextIO, _notices), tracer.stop, replaced=replaced)
    return _event_sink(options, _view(options), stream)


def _view(options: Options) -> View:
    from .output import View

    return View(
        meta=options.output_meta,
        tuple=options.output_tuple,
        tcp_flags=options.output_tcp_flags,
        stack=options.output_stack,
        caller=options.config.output_caller,
        tunnel=options.config.output_tunnel,
        conntrack=options.config.output_conntrack,
        owner=options.config.output_owner,
        programs=options.config.traces_programs,
        cb=options.config.output_skb_cb,
        sk_buff=options.config.output_skb,
        shared_info=options.config.output_skb_shared_info,
        packet_id=options.output_packet_id,
        netns_names=options.output_netns_names,
        netns_name_max=options.netns_names_max_length,
        rules=options.config.tells_verdicts,
        nf_path=options.config.output_nf_path,
        returns=options.config.sees_returns,
        inside=options.config.traces_inside,
        maps=options.config.output_bpfmap,
        skb_metadata=options.config.output_skb_metadata,
        xdp_metadata=options.config.output_xdp_metadata,
        drops=options.config.drops,
        counts=options.config.top,
        quiet=options.quiet,
        timestamp=options.timestamp,
    )


def _event_sink(options: Options, view: View, stream: TextIO) -> Sink:
    from .output import json_sink, table_sink, text_sink

    if options.output_json:
        return json_sink(stream, view)
    if stream.isatty():
        return table_sink(stream, view)
    return text_sink(stream, view, notices=cast(TextIO, _notices))


def _trace(
    tracer: Tracer,
    options: Options,
    stream: TextIO,
    attached: Callable[[Config], None],
    command: Command | None,
) -> int:
    from .empty.watch import Watch
    from .output.summary import plural
    from .signals import Signals

    _say_compiling(tracer)
    tracer.plan()  # it attaches nothing and may take a while: a signal still ends it at once
    sink = _sink(tracer, options, stream)
    advisor = _advisor(options)

    def ready() -> None:
        if advisor is not None:
            advisor.wait_ready()
        watch.begin()  # before anyone learns that packets are waited for
        _all_attached(options)
        if command is not None:
            settled = getattr(sink, "settled", lambda: True)
            command.start(settled, options.journey_timeout_s + _IDLE_S, tracer.stop)
        attached(options.config)

    with ExitStack() as ends:
        if advisor is not None:
            ends.callback(advisor.close)
        ends.enter_context(Signals(tracer, command))
        watch = ends.enter_context(Watch(tracer, sampling=options.explain_empty))
        with tracer:
            _warn(watch.warnings)
            warnings = tracer.warnings
            _warn(warnings)
            streams.empty(stream, options.output_file)
            if _notices.isatty():
                _done, total = tracer.progress
                points = len(tracer.plan().tracepoints)
                if tracer.target == "tracepoint":
                    total, points = total + points, 0
                parts = [plural(total, tracer.target)]
                parts += [plural(points, "tracepoint")] if points else []
                if options.config.traces_programs:
                    parts.append(plural(len(tracer.bpf_programs), "BPF program"))
                traced = " and ".join(parts)
                _notices.write(f"listening on {traced}, Ctrl-C ends it\n")
            if options.config.top and not options.summary_only:
                from .top import show_top

                show_top(tracer, options, stream, ready)
            else:
                if not options.summary_only:
                    sink.start()
                try:
                    _pump(tracer, sink, ready, options, advisor)
                finally:
                    sink.progress(0, 0)  # whatever comes now, without a progress bar
            if advisor is not None and options.config.top:
                advisor.count(tracer.dropped())
            watch.end()
            _say_detaching(tracer)
        why = watch.why()
        _warn([warning for warning in tracer.warnings if warning not in warnings])
        sink.losses(tracer.summary.losses)
        said = advisor.finish(tracer.summary.silent) if advisor is not None else []
        if options.output_json:
            _write_json(stream, said, why)
        sink.finish(tracer.summary)
    if not stream.isatty() or options.output_json:
        _tell_summary(tracer.summary, options)
    if why is not None:
        from .output.empty import empty_lines

        _say(empty_lines(why))
    if options.config.drops:
        _explain_drops(tracer.summary)
    if advisor is not None:
        from .output.advice import advice_lines

        _say(advice_lines(said, advisor.left))
    if options.debug:
        for name, number in tracer.failures:
            _notices.write(f"not attached: {name}: {os.strerror(number)}\n")
    return _STATUS_OK


def _say(lines: Iterable[str]) -> None:
    """On a terminal within its width, by words."""
    from .output.widths import wrap

    width = _notices.width()
    for line in map(printable, lines):
        shown = wrap(line, width, _BENEATH) if width else line
        _notices.write(f"{shown}\n")


def _tell_summary(summary: Summary, options: Options) -> None:
    from .output.summary import summary_lines

    _say(summary_lines(summary, seen=not options.config.top))


def _explain_drops(summary: Summary) -> None:
    from .output.summary import explained_drops

    _say(explained_drops(summary))


def _replay(options: Options) -> int:
    """A saved trace. Where it breaks off, what came before is shown, and counted."""
    from .replay.play import Replay, check, view_of
    from .replay.source import opened

    check(options)
    view = _view(options)
    with opened(options.read_file) as file, _output(options) as stream:
        streams.refuse_same(file, stream)
        replay = Replay(
            options, lambda first: _event_sink(options, view_of(options, view, first), stream)
        )
        streams.empty(stream, options.output_file)
        broken: InputError | None = None
        try:
            replay.run(file)
        except InputError as error:
            broken = error
        summary = replay.finish()
        if not stream.isatty() or options.output_json:
            _tell_summary(summary, options)
    if options.config.drops:
        _explain_drops(summary)
    _warn(replay.notes)
    if broken is not None:
        raise broken
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


def _advisor(options: Options) -> Advisor | None:
    """Of a session with ``advice``; started before the right to enter namespaces is given up."""
    if not options.advice:
        return None
    from .advisor import advisor
    from .kernel.netns import current_inode, resolve

    where = options.config.filter_netns
    try:
        return advisor(resolve(where)[0] if where else current_inode(), only=bool(where))
    except OSError as error:
        raise PwruError(f"cannot start what reads for `advice`: {error.strerror}") from None


def _write_json(stream: TextIO, said: Sequence[Advice], why: Explanation | None) -> None:
    """What comes between the events and the summary."""
    if said:
        from .output.advice import json_advice
        from .output.jsonl import json_line

        stream.writelines(json_line(json_advice(one)) for one in said)
    if why is not None:
        from .output.empty import json_empty
        from .output.jsonl import json_line

        stream.write(json_line(json_empty(why)))


def _pump(
    tracer: Tracer,
    sink: Sink,
    attached: Callable[[], None],
    options: Options,
    advisor: Advisor | None,
) -> None:
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
        if advisor is not None:
            advisor.see(batch)
        sink.losses(tracer.summary.losses)


def _say_compiling(tracer: Tracer) -> None:
    if tracer.compiles_types():
        _warn(["BCC compiles the kernel's types by its headers, once, for some seconds"])


def _say_detaching(tracer: Tracer) -> None:
    """Many single kprobes take their time to leave: say so, once."""
    done, _total = tracer.progress
    if done > 200 and tracer.detaching_is_slow:
        _notices.write(f"pwru-py: detaching {done} kprobes, the kernel takes its time\n")
