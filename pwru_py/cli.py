# SPDX-License-Identifier: Apache-2.0
"""The command: options to a session, its events to a sink, errors to one line and a status."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from .errors import LoadError, OutputError, PwruError, reason
from .options.flags import Options, spell
from .options.parse import HelpRequested, VersionRequested, parse

if TYPE_CHECKING:
    from .output import Sink
    from .session import Tracer

_STATUS_OK, _STATUS_FAILED = 0, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 (run error) or 2 (usage error)."""
    gc.disable()  # a start makes much and drops little; a session enables it
    argv = sys.argv[1:] if argv is None else argv
    debug = any(word in ("--debug", "--debug=true") for word in argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name in a script that the locale lacks
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)  # until a session takes the signals over
    try:
        try:
            status = _run(parse(argv))
        except (HelpRequested, VersionRequested) as wanted:
            sys.stdout.write(str(wanted).rstrip("\n") + "\n")
            status = _STATUS_OK
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_stdout()
        return _STATUS_OK
    except PwruError as error:
        if debug:
            _print_traceback()
            if isinstance(error, LoadError) and error.log:
                sys.stderr.write(error.log.rstrip("\n") + "\n")
        return _complain(spell(str(error)), error.exit_status)
    except KeyboardInterrupt:
        return _STATUS_OK
    except OSError as error:
        if debug:
            _print_traceback()
        _discard_stdout()
        return _complain(_os_error(error, "standard output"), _STATUS_FAILED)
    except Exception as error:
        if debug:
            _print_traceback()
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _complain(f"internal error, please report it: {what} (where: --debug)", 1)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _print_traceback() -> None:
    from traceback import print_exc

    print_exc()


def _complain(message: str, status: int) -> int:
    try:
        sys.stderr.write(f"pwru-py: {message}\n")
    except OSError:
        pass
    return status


def _discard_stdout() -> None:
    """Nobody takes it: what Python still holds for it must not fail again at exit."""
    if sys.stdout is None:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _os_error(error: OSError, where: str) -> str:
    if error.errno == errno.ENOSPC:
        return f"cannot write to {where}: the disk is full, what was written before stays"
    return f"cannot write to {where}: {reason(error)}"


def _run(options: Options) -> int:
    if options.dump_filter:
        from .programs.prepare import filter_listing

        sys.stdout.write(filter_listing(options.config))
        return _STATUS_OK
    from .session import Tracer

    tracer = Tracer(options.config)
    if options.list_funcs:
        return _list_functions(tracer)
    with _output(options) as stream:
        return _trace(tracer, options, stream)


def _list_functions(tracer: Tracer) -> int:
    """The plan: function, argument position, module; then what is left out, and why."""
    plan = tracer.plan()
    if not plan.targets and not plan.skipped:
        raise tracer.nothing_to_trace()
    write = sys.stdout.write
    names = [target.name for target in plan.targets] + [skipped.name for skipped in plan.skipped]
    width = max(map(len, names))
    write(f"{'FUNC':<{width}}  ARG  MODULE\n")
    for target in sorted(plan.targets):
        write(f"{target.name:<{width}}  {target.arg:<3}  {target.module or 'vmlinux'}\n")
    for skipped in sorted(plan.skipped):
        module = skipped.module or "vmlinux"
        write(f"{skipped.name:<{width}}  -    {module}  skipped: {skipped.why}\n")
    sys.stdout.flush()
    sys.stderr.write(f"{len(plan.targets)} functions, {len(plan.skipped)} skipped\n")
    return _STATUS_OK


@contextmanager
def _output(options: Options) -> Iterator[TextIO]:
    """Where events go; errors of a file are told with its name."""
    name = options.output_file
    if name in ("", "-"):
        if sys.stdout is None:
            raise OutputError("standard output is closed: give --output-file FILE")
        yield sys.stdout
        return
    try:
        # Not emptied yet: a start that fails must not cost an earlier trace.
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        stream = open(fd, "w", encoding="utf-8", buffering=1 << 16)  # noqa: SIM115
    except OSError as error:
        raise OutputError(
            f"cannot write to {name}: {reason(error)}: choose another --output-file"
        ) from None
    try:
        yield stream
        stream.close()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(_os_error(error, name)) from error
    finally:
        try:
            stream.close()
        except OSError:
            pass


def _sink(options: Options, stream: TextIO) -> Sink:
    from .output import View, json_sink, table_sink, text_sink

    view = View(
        meta=options.output_meta,
        tuple=options.output_tuple,
        tcp_flags=options.output_tcp_flags,
        stack=options.output_stack,
        timestamp=options.timestamp,
    )
    if options.output_json:
        return json_sink(stream, view)
    if stream.isatty():
        return table_sink(stream, view)
    return text_sink(stream, view, notices=sys.stderr)


class _Signals:
    """SIGINT and SIGTERM: the first ends the session in order, the second leaves at once."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._before = {number: signal.getsignal(number) for number in _STOPPING}
        self.received = False

    def __enter__(self) -> _Signals:
        for number in _STOPPING:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self.received:
            os._exit(_STATUS_OK)
        self.received = True
        self._tracer.stop()


_STOPPING = (signal.SIGINT, signal.SIGTERM)


def _trace(tracer: Tracer, options: Options, stream: TextIO) -> int:
    sink = _sink(options, stream)
    with _Signals(tracer):
        with tracer:
            for warning in tracer.warnings:
                sys.stderr.write(f"pwru-py: {spell(warning)}\n")
            if stream is not sys.stdout and stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                stream.truncate(0)
            if sys.stderr.isatty():
                _done, total = tracer.progress
                sys.stderr.write(f"listening on {total} functions, Ctrl-C ends it\n")
            sink.start()
            try:
                _pump(tracer, options, sink)
            finally:
                sink.progress(0, 0)  # whatever comes now, without a progress bar
            _say_detaching(tracer)
        sink.losses(tracer.summary.losses)
        sink.finish(tracer.summary)
    if not stream.isatty() or options.output_json:
        from .output.summary import summary_lines

        for line in summary_lines(tracer.summary):
            sys.stderr.write(f"{line}\n")
    if options.debug:
        for name, number in tracer.failures:
            sys.stderr.write(f"not attached: {name}: {os.strerror(number)}\n")
    return _STATUS_OK


def _pump(tracer: Tracer, options: Options, sink: Sink) -> None:
    """Events to the sink until a signal or the line limit."""
    ready = False
    for batch in tracer.batches():
        if not ready:
            sink.progress(*tracer.progress)
            if tracer.attached:
                ready = True
                gc.freeze()  # what a start made stays
                gc.enable()
                _tell_ready(options.ready_file)
        if batch:
            sink.events(batch)
        sink.losses(tracer.summary.losses)


def _tell_ready(path: str) -> None:
    if not path:
        return
    try:
        with open(path, "w"):
            pass
    except OSError as error:
        raise OutputError(f"cannot create ready file {path}: {reason(error)}") from None


def _say_detaching(tracer: Tracer) -> None:
    """Many single kprobes take their time to leave: say so, once."""
    done, _total = tracer.progress
    if done > 200 and tracer.detaching_is_slow:
        sys.stderr.write(f"pwru-py: detaching {done} kprobes, the kernel takes its time\n")


if __name__ == "__main__":
    sys.exit(main())
