# SPDX-License-Identifier: Apache-2.0
"""What the running kernel can do, asked of its BTF: helpers, map and attach types, functions."""

from __future__ import annotations

from dataclasses import dataclass

from ..btf import Btf


@dataclass(frozen=True, slots=True)
class Features:
    """Each is a plain yes or no; the commit that brought it stands beside it."""

    kprobe_multi: bool  # 5.18, 0dcac2725406, with CONFIG_FPROBE
    ring: bool  # 5.8, 457f44363a88
    typed_loads: bool  # 6.2, a35b9af4ec2c: bpf_rdonly_cast
    func_ip: bool  # 5.15, 9ffd9f3ff719: bpf_get_func_ip for kprobes
    cookie: bool  # 5.15, 7adfc6c9b315: bpf_get_attach_cookie
    misses: bool  # 6.7, 3acf8ace6823: skipped runs of kprobe programs are counted

    @classmethod
    def of(cls, btf: Btf) -> Features:
        helpers = btf.enum("bpf_func_id")
        return cls(
            kprobe_multi="BPF_TRACE_KPROBE_MULTI" in btf.enum("bpf_attach_type")
            and btf.function("register_fprobe_ips") is not None,
            ring="BPF_MAP_TYPE_RINGBUF" in btf.enum("bpf_map_type"),
            typed_loads=btf.function("bpf_rdonly_cast") is not None,
            func_ip="BPF_FUNC_get_func_ip" in helpers,
            cookie="BPF_FUNC_get_attach_cookie" in helpers,
            misses=btf.has_member("bpf_link_info", "kprobe_multi", "missed"),
        )
