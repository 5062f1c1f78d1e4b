# SPDX-License-Identifier: Apache-2.0
"""``docs/compatibility.md`` has a line for each flag of pwru, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pwru_py.options.flags import BY_NAME

PAGE = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()
ROWS = dict(re.findall(r"^\| `(--[a-z0-9-]+)` \| ([a-z ]+) \|", PAGE, re.MULTILINE))
# Every flag of pwru 1.0, up to August 2026.
_FLAGS = """
    --all-kmods --backend --debug --filter-func --filter-ifname --filter-kprobe-batch --filter-mark
    --filter-netns --filter-non-skb-funcs --filter-skb-expr --filter-trace-tc --filter-trace-xdp
    --filter-track-bpf-helpers --filter-track-skb --filter-track-skb-by-stackid
    --filter-tunnel-pcap-l2 --filter-tunnel-pcap-l3 --filter-xdp-expr --help --kernel-btf --kmods
    --netns-names-max-length --output-bpfmap --output-caller --output-file --output-file-compress
    --output-file-max-age --output-file-max-backups --output-file-max-size --output-json
    --output-limit-lines --output-meta --output-netns-names --output-skb --output-skb-cb
    --output-skb-metadata --output-skb-shared-info --output-stack --output-tcp-flags --output-tuple
    --output-tunnel --output-xdp-metadata --ready-file --set-percpu-buf --timestamp --version
"""
PWRU = _FLAGS.split()


def test_every_flag_has_a_line() -> None:
    assert sorted(ROWS) == sorted(PWRU)
    assert set(ROWS.values()) <= {"same", "better", "different"}


@pytest.mark.parametrize("flag", PWRU)
def test_every_flag_can_be_typed(flag: str) -> None:
    assert flag in BY_NAME
