# SPDX-License-Identifier: Apache-2.0
"""Loads compiled filters into the kernel: ``verifier FILE``, a pickle of {name: CompiledFilter}.

Through the product's own objects, so that the verifier sees a filter where it runs. An object takes
three at once: one for the packet, two for what a tunnel carries.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pwru_py.errors import PwruError
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Config
from pwru_py.programs.load import load
from pwru_py.programs.prepare import Prepared, prepare
from pwru_py.programs.splice import INNER_L2, INNER_L3, OUTER

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter

FUNCTION = "dev_hard_start_xmit"
STUBS = (OUTER, INNER_L2, INNER_L3)
SHORT = 100
"""Instructions; what is longer is loaded alone."""


class Loader:
    """Loads filters into the object; ``refused``: what the kernel refused, and its words."""

    def __init__(self, compiled: Mapping[str, CompiledFilter]) -> None:
        self._whole: Prepared = prepare(Config(filter_func=FUNCTION))
        alone = replace(self._whole.features, kfree_skb_arguments=0)
        self._alone = replace(self._whole, features=alone)
        self._compiled = compiled
        self.refused: dict[str, str] = {}
        self.loads = 0

    def load(self, names: Sequence[str]) -> None:
        """Up to three together; when they are refused, each alone, to say which it is.

        A long one also in the program of drops, which takes as long again to verify.
        """
        stubs = dict(zip(STUBS, (self._compiled[name] for name in names), strict=False))
        config = Config(buffer_bytes=4096)
        long = any(len(compiled.ebpf) > SHORT for compiled in stubs.values())
        prepared = self._whole if long else self._alone
        self.loads += 1
        try:
            load(replace(prepared, config=config, compiled=stubs), Wake()).close()
        except PwruError as error:
            self.refused[" + ".join(names)] = f"{error}\n{getattr(error, 'log', '')[-2000:]}"
            if len(names) > 1:
                for name in names:
                    self.load([name])


def groups(compiled: Mapping[str, CompiledFilter]) -> list[list[str]]:
    """Short filters by size, so that those in one object are alike; long ones alone."""
    sizes = {name: len(c.ebpf) for name, c in compiled.items()}
    short = sorted((name for name in sizes if sizes[name] <= SHORT), key=sizes.__getitem__)
    together = [short[n : n + len(STUBS)] for n in range(0, len(short), len(STUBS))]
    return together + [[name] for name in sizes if sizes[name] > SHORT]


def main() -> None:
    with open(sys.argv[1], "rb") as stream:
        compiled: dict[str, CompiledFilter] = pickle.load(stream)
    loader = Loader(compiled)
    for group in groups(compiled):
        loader.load(group)
    json.dump({"refused": loader.refused, "loads": loader.loads}, sys.stdout)


if __name__ == "__main__":
    main()
