# SPDX-License-Identifier: Apache-2.0
"""From what is prepared to the settings of the kernel side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..arch.x86_64_sites import FUNCTIONS, Site
from ..errors import FeatureUnsupportedError, FilterError
from ..escape import quote
from ..facts.function_sets import matcher
from ..facts.roles import READ_TRACEPOINT, RETURN_TRAMPOLINE_NAMES, TELLS_DROPS
from ..facts.tables import NO_TABLES, TABLE_FUNCTIONS, TableLayout, find_layout
from ..kernel import system
from ..options.config import Config, Transport
from ..plan.functions import Plan
from ..record import contract
from ..record.layout import FilterNeeds, KernelConfig, RecordLayout
from .attachable import find_variables
from .conntrack import conntrack_settings
from .owners import checked_pid
from .prepare import Prepared
from .shapes import find_shapes
from .splice import INNER_L2, INNER_L3, OUTER

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter

_PAGE_VARIABLES = ("page_offset_base", "vmemmap_base")
_PER_CPU = "__per_cpu_offset"
_KPROBE = "current_kprobe"
# Arguments of the tracepoint kfree_skb: sk_buff, location, reason, receiver.
_WITH_REASON, _WITH_RECEIVER = 3, 4


def make_settings(
    prepared: Prepared, sites: Mapping[str, Site], warnings: list[str]
) -> KernelConfig:
    """The settings; what a user should know of them goes to ``warnings``.

    ``sites``: where functions of x_tables have decided.
    """
    config, features, compiled = prepared.config, prepared.features, prepared.compiled
    netns_inode, ifindex = _where(config, warnings)
    mark = config.filter_mark
    tables = _tables(prepared, sites, warnings)
    shapes = find_shapes(config, prepared.types)
    modules = {target.module for target in prepared.plan.targets}
    return KernelConfig(
        netns=netns_inode,
        ifindex=ifindex,
        mark=mark.value & mark.mask if mark else 0,
        mark_mask=mark.mask if mark else 0,
        cgroup=_cgroup(config, known=features.cgroup_sockets),
        owner_pid=checked_pid(config),
        owner_comm=os.fsencode(config.filter_comm),
        filter=_needs(compiled.get(OUTER)),
        inner_l2=_needs(compiled.get(INNER_L2)),
        inner_l3=_needs(compiled.get(INNER_L3)),
        checked=prepared.types.made,
        adjacent=features.adjacent,
        func_ip=prepared.way.func_ip,
        track=config.follows,
        tuple=config.output_tuple,
        tables=tables,
        conntrack=conntrack_settings(config, prepared.types, prepared.unjudged, warnings),
        expression=prepared.field_expressions.condition is not None,
        xdp_expression=prepared.field_expressions.xdp_condition is not None,
        record=RecordLayout.of(
            *_sections(config, tables),
            metadata_bytes=prepared.field_expressions.metadata_bytes,
            skb_bytes=shapes.sk_buff.bytes if shapes.sk_buff else 0,
            shared_bytes=shapes.shared_info.bytes if shapes.shared_info else 0,
            entry_bytes=shapes.entry.bytes if shapes.entry else 0,
            xdp_bytes=prepared.field_expressions.xdp_bytes,
        ),
        queue=_through_queue(config, ring=features.ring),
        shared=prepared.way.trampoline and len(modules) > 1,
        drops_hidden=config.top or hides_drops(config),
        drop_where=config.top,
        flows=config.flows,
        tracepoint_cookies=features.tracepoint_cookies,
        drop_reasons=features.kfree_skb_arguments >= _WITH_REASON,
        drop_receivers=features.kfree_skb_arguments >= _WITH_RECEIVER,
        typed_task=features.typed_task,
        lives=bool(prepared.plan.ends),
        read_target=_read_target(prepared.plan),
        inside=config.knows_stacks,
        trampolines=_trampolines(prepared),
        by_stack=config.filter_track_skb_by_stackid,
        current_kprobe=_current_kprobe(prepared),
        **_preempt_count(prepared),
        **_page_variables(prepared, warnings),
    )


def hides_drops(config: Config) -> bool:
    """Who asks for other functions alone is not shown the tracepoint's drops; they are counted."""
    if config.with_tracepoints:
        return False
    return not any(map(matcher(config.filter_func), TELLS_DROPS))


def _through_queue(config: Config, *, ring: bool) -> bool:
    if config.transport is Transport.RING and not ring:
        raise FeatureUnsupportedError(
            "this kernel has no BPF ring buffer that a probe may write (Linux 5.8; with "
            "PREEMPT_RT 6.12): use `transport`=queue",
            feature="ring buffer",
            since="5.8",
        )
    return config.transport is Transport.QUEUE or not ring


def _page_variables(prepared: Prepared, warnings: list[str]) -> dict[str, int]:
    """Addresses that lead from a page to its bytes, if there is a filter.

    One that looks at payload needs them; any other does for a frame of PACKET_TX_RING, of which
    the link header alone lies elsewhere (tpacket_fill_skb() in net/packet/af_packet.c).
    """
    if not prepared.compiled:
        return {}
    found: dict[str, int] = {}
    if prepared.features.small_pages:
        found = find_variables(_PAGE_VARIABLES, prepared.types.notes)
    if len(found) == len(_PAGE_VARIABLES):
        return found
    if any(program.needs_payload for program in prepared.compiled.values()):
        warnings.append(
            "payload that lies in pages cannot be read on this kernel: a filter that looks "
            "there does not match"
        )
    return {}


def _preempt_count(prepared: Prepared) -> dict[str, int]:
    """Where each CPU's preempt count is, and what its bits are; nothing where that is hidden."""
    features = prepared.features
    variable = features.preempt_variable
    found = find_variables((variable, _PER_CPU), prepared.types.notes)
    if len(found) < 2:
        return {}
    hardirq_mask, nmi_mask = features.interrupt_masks
    return {
        "preempt_count": found[variable] + features.preempt_offset,
        "per_cpu_offset": found[_PER_CPU],
        "hardirq_mask": hardirq_mask,
        "nmi_mask": nmi_mask,
    }


def _trampolines(prepared: Prepared) -> tuple[int, ...]:
    """What other tracers of returns put in place of return addresses."""
    found: dict[str, int] = {}
    if prepared.config.knows_stacks:
        found = find_variables(RETURN_TRAMPOLINE_NAMES, prepared.types.notes)
    return tuple(found.get(name, 0) for name in RETURN_TRAMPOLINE_NAMES)


def _current_kprobe(prepared: Prepared) -> int:
    """The variable that tells which function returns, where bpf_get_func_ip() does not."""
    if not prepared.way.returns or prepared.way.func_ip:
        return 0
    found = find_variables((_KPROBE, _PER_CPU), prepared.types.notes)
    if len(found) < 2:
        raise FeatureUnsupportedError(
            "the kernel does not list its variable current_kprobe, which tells which function "
            "returns: leave `output_return`, `filter_return` and `output_bpfmap` out",
            feature="kretprobes",
        )
    return found[_KPROBE]


def _where(config: Config, warnings: list[str]) -> tuple[int, int]:
    """The namespace's inode and the interface's index to filter by, 0 for any."""
    if not config.filter_netns and not config.filter_ifname:
        return 0, 0
    from ..kernel import netns

    if config.filter_netns:
        inode, path = netns.resolve(config.filter_netns)
        what = f"network namespace {config.filter_netns}"
        if not path:
            warnings.append(f"no process or name leads to {what} now")
        if config.filter_ifname and not path:
            raise FilterError(
                f"cannot look for interface {quote(config.filter_ifname)} in {what}: "
                "no process or name leads there, give it as pid:N or a path"
            )
    else:
        inode, path, what = netns.current_inode(), "", "this network namespace"
    if not config.filter_ifname:
        return inode, 0
    return inode, netns.ifindex(config.filter_ifname, path, what)


def _read_target(plan: Plan) -> int:
    """By which number the program at ``plan.reads`` tells of a read: the tracepoint's."""
    names = [target.name for target in plan.traced]
    return 1 + names.index(READ_TRACEPOINT) if plan.reads and READ_TRACEPOINT in names else 0


def _sections(config: Config, tables: TableLayout) -> list[int]:
    """What records have behind the event."""
    wanted = {
        contract.SECTION_STACK: config.output_stack,
        contract.SECTION_TABLE: tables.on,
        contract.SECTION_METADATA: config.output_skb_metadata,
        contract.SECTION_UDP: config.journey,
        contract.SECTION_ARRIVAL: config.journey,
        contract.SECTION_CALLER: config.output_caller,
        contract.SECTION_TUNNEL: config.output_tunnel,
        contract.SECTION_CB: config.output_skb_cb,
        contract.SECTION_HEAD: config.output_frame,
        contract.SECTION_CONNTRACK: config.output_conntrack,
        contract.SECTION_OWNER: config.output_owner,
        contract.SECTION_CALL: config.sees_returns,
        contract.SECTION_MAP: config.output_bpfmap,
    }
    return [section for section, asked in wanted.items() if asked]


def _tables(prepared: Prepared, sites: Mapping[str, Site], warnings: list[str]) -> TableLayout:
    """Where the structures of netfilter's tables have what is read of them."""
    functions = prepared.plan.tables
    if not functions:
        return NO_TABLES
    btf = prepared.types.btf
    modules = dict.fromkeys(("x_tables", *(TABLE_FUNCTIONS[name] for name in functions)))
    made = prepared.types.made
    with_btf = () if made else tuple(filter(system.has_module_btf, modules))
    layout = find_layout([btf, *prepared.types.module_btfs(with_btf, every=False)], functions)
    if layout is None:
        warnings.append("what netfilter's tables say is not seen: this kernel does not tell how")
        return NO_TABLES
    layout = replace(layout, steps=prepared.config.output_nf_path)
    untold = [name for name in FUNCTIONS if name in functions and name not in sites]
    if untold:
        warnings.append(
            f"which rule drops a packet in {' and '.join(untold)} is not known: the kernel's code "
            "cannot be read there (/proc/kcore), or is not as expected"
        )
    four, six, arp, bridge = map(sites.get, FUNCTIONS)
    if four is not None:
        layout = replace(layout, frame4=four.frame, hot4=four.hot, rule4=four.rule)
    if six is not None:
        layout = replace(layout, frame6=six.frame, hot6=six.hot, rule6=six.rule)
    if arp is not None:
        layout = replace(layout, frame_arp=arp.frame, hot_arp=arp.hot, rule_arp=arp.rule)
    if bridge is not None:
        layout = replace(layout, frame_eb=bridge.frame, hot_eb=bridge.hot, rule_eb=bridge.rule)
    return layout


def _cgroup(config: Config, *, known: bool) -> int:
    """The control group's number, 0 for any."""
    if not config.filter_cgroup:
        return 0
    if not known:
        raise FeatureUnsupportedError(
            "sockets of this kernel do not tell their control group (CONFIG_SOCK_CGROUP_DATA): "
            "leave `filter_cgroup` out",
            feature="control groups of sockets",
        )
    from ..kernel import cgroup

    return cgroup.resolve(config.filter_cgroup)


def _needs(compiled: CompiledFilter | None) -> FilterNeeds:
    if compiled is None:
        return FilterNeeds()
    return FilterNeeds(
        bytes=-(-compiled.frame_bytes // 8) * 8,  # the kernel copies whole words fastest
        on=True,
        link=compiled.needs_link,
        length=compiled.needs_length,
        payload=compiled.needs_payload,
    )
