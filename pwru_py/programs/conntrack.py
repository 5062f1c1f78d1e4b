# SPDX-License-Identifier: Apache-2.0
"""What a session needs of conntrack: where entries have what, and who tells what is invalid."""

from __future__ import annotations

from ..errors import FeatureUnsupportedError
from ..facts.btf import Btf
from ..facts.conntrack import JUDGE, MODULE, CtState, EntryLayout, find_entry_layout
from ..kernel import system
from ..options.config import Config
from ..record import contract
from ..record.layout import ConntrackSettings
from .choose import Choice, ftrace_off
from .known import KernelTypes


def conntrack_btfs(types: KernelTypes) -> list[Btf]:
    """The kernel's, then the module's where there is one that has any."""
    with_btf = (MODULE,) if not types.made and system.has_module_btf(MODULE) else ()
    return [types.btf, *types.module_btfs(with_btf, every=False)]


def find_entry(config: Config, types: KernelTypes) -> EntryLayout:
    """Where its entries have what. Raises FeatureUnsupportedError."""
    fields = ("output_conntrack", "filter_ct_state", "filter_ct_mark")
    asked = " and ".join(f"`{name}`" for name in fields if getattr(config, name))
    if not types.btf.has_member("sk_buff", "_nfct"):
        raise _lacks(f"this kernel has no conntrack (CONFIG_NF_CONNTRACK): leave {asked} out")
    found = find_entry_layout(conntrack_btfs(types))
    if found is None or found.bytes > contract.ENTRY_MAX:
        raise _lacks(
            f"how conntrack's entries are made (struct nf_conn) is in no BTF of this kernel, or is "
            f"not as expected: load {MODULE}, or leave {asked} out"
        )
    if config.filter_ct_mark is not None and found.mark is None:
        raise _lacks(
            "conntrack's entries have no mark in this kernel (CONFIG_NF_CONNTRACK_MARK): leave "
            "`filter_ct_mark` out"
        )
    return found


def unjudged(config: Config, types: KernelTypes, choice: Choice) -> str:
    """Why no probe tells what conntrack finds invalid; '' where one does, or nobody asks."""
    if not config.tells_invalid:
        return ""
    if system.kprobe_pmu() is None or ftrace_off() is not None:
        return "functions cannot be probed here"
    if not types.own or not choice.follows:
        return "where packets begin is not seen on this kernel"
    if MODULE not in system.loaded_modules() and types.btf.function(JUDGE) is None:
        return f"{MODULE} is not loaded"
    return ""


def conntrack_settings(
    config: Config, types: KernelTypes, why_unjudged: str, warnings: list[str]
) -> ConntrackSettings:
    """Raises FeatureUnsupportedError."""
    if not config.reads_entries:
        return ConntrackSettings()
    layout = find_entry(config, types)
    if why_unjudged:
        if CtState.INVALID in config.filter_ct_state:
            raise _lacks(
                f"what conntrack finds invalid is not known, as {why_unjudged}: leave `invalid` "
                "out of `filter_ct_state`, or take `none`, which has such packets then"
            )
        warnings.append(f"packets that conntrack finds invalid show as none, as {why_unjudged}")
    mark = config.filter_ct_mark
    return ConntrackSettings(
        bytes=layout.bytes,
        status=layout.status,
        mark_at=layout.mark or 0,
        states=sum({1 << getattr(contract, f"CT_{each.name}") for each in config.filter_ct_state}),
        mark=mark.value & mark.mask if mark else 0,
        mark_mask=mark.mask if mark else 0,
        judges=config.tells_invalid and not why_unjudged,
    )


def _lacks(text: str) -> FeatureUnsupportedError:
    return FeatureUnsupportedError(text, feature="conntrack")
