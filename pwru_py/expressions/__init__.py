# SPDX-License-Identifier: Apache-2.0
"""Field expressions: ``skb->dev->mtu > 1400``, compiled by the kernel's own types. Pure.

Text → ``tokens`` → ``syntax`` (what was typed, with columns) → ``conditions`` and
``values`` (what it means by BTF: ``tree``) → ``code`` (eBPF that reads with
``bpf_probe_read_kernel``). ``compiled`` is the door. The language is in ``docs/expressions.md``.
"""
