# SPDX-License-Identifier: Apache-2.0
"""An empty program on the functions that pwru-py would trace, until SIGTERM.

``python -m bench.inside.empty OBJECT --ready-file FILE [pwru-py's flags]``.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from pwru_py.kernel.libbpf import BpfObject, Libbpf
from pwru_py.kernel.wake import Wake
from pwru_py.options.parse import parse
from pwru_py.programs.prepare import prepare


def main() -> None:
    path, *words = sys.argv[1:]
    options = parse(words)
    prepared = prepare(options.config)
    targets = prepared.plan.targets
    with BpfObject(Libbpf(), Path(path).read_bytes()) as found:
        (program,) = found.programs()
        prepared.way.shape(program, prepared.features)
        found.load()
        probes = prepared.way.make(targets, prepared.features, Wake())
        probes.attach([program])
        while not probes.done:
            time.sleep(0.1)
        assert probes.attached > len(targets) / 2, probes.failed[:3]
        signal.signal(signal.SIGTERM, lambda *_: None)
        Path(options.ready_file).touch()
        signal.pause()
        probes.detach()


if __name__ == "__main__":
    main()
