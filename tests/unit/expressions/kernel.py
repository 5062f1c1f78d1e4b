# SPDX-License-Identifier: Apache-2.0
"""A small kernel: types in BTF, and an sk_buff in memory that they describe."""

from __future__ import annotations

import socket
import struct
from functools import cache

from pwru_py.facts.btf import Btf, Kind
from tests.unit.btf_builder import Builder
from tests.unit.expressions.machine import Memory

SKB, DEV, SOCK, HEAD, ALIAS = (0xFFFF_8880_0000_0000 + n * 0x10000 for n in range(1, 6))
PRIVATE = 0xFFFF_8880_1234_5678


@cache
def types() -> Btf:
    b = Builder()
    char, u8 = b.integer("char", 1, 1), b.integer("unsigned char", 1)
    short = b.integer("unsigned short", 2)
    s32, u32 = b.integer("int", 4, 1), b.integer("unsigned int", 4)
    u64, boolean = b.integer("long unsigned int", 8), b.integer("_Bool", 1, 4)
    s64 = b.integer("long int", 8, 1)
    u16 = b.alias(Kind.TYPEDEF, short, "u16")
    be16 = b.alias(Kind.TYPEDEF, u16, "__be16")
    be32 = b.alias(Kind.TYPEDEF, u32, "__be32")
    in6 = b.fields("in6_addr", 16, [("u6_addr8", b.array(u8, 16), 0, 0)])
    state = b.enum("dev_state", {"DEV_NEW": 0, "DEV_READY": 1, "DEV_GONE": 2})
    b.enum("", {"TCP_ESTABLISHED": 1, "TCP_CLOSE": 7})
    dev = b.fields(
        "net_device",
        80,
        [
            ("name", b.array(char, 16), 0, 0),
            ("ifindex", s32, 128, 0),
            ("mtu", u32, 160, 0),
            ("state", state, 192, 0),
            ("alias", b.ptr(char), 256, 0),
            ("perm_addr", b.array(u8, 6), 320, 0),
            ("up", boolean, 384, 0),
            ("words", b.array(u16, 4), 448, 0),
        ],
    )
    common = b.fields(
        "sock_common",
        32,
        [
            (
                "",
                b.fields("", 8, [("skc_daddr", be32, 0, 0), ("skc_rcv_saddr", be32, 32, 0)]),
                0,
                0,
            ),
            ("skc_dport", be16, 64, 0),
            ("skc_num", u16, 80, 0),
            ("skc_state", b.alias(Kind.VOLATILE, u8), 96, 0),
            ("skc_v6_daddr", in6, 128, 0),
        ],
    )
    sock = b.fields("sock", 40, [("__sk_common", common, 0, 0), ("sk_error", s32, 256, 0)])
    iphdr = b.fields(
        "iphdr",
        20,
        [("ihl", u8, 0, 4), ("version", u8, 4, 4), ("ttl", u8, 64, 0), ("saddr", be32, 96, 0)],
    )
    b.alias(Kind.TYPEDEF, iphdr, "ip_header")
    flags = b.fields(
        "",
        8,
        [
            ("pkt_type", u8, 0, 3),
            ("ignore_df", u8, 3, 1),
            ("wide", u32, 5, 13),
            ("sign", s32, 20, 5),
        ],
    )
    inner = b.fields("", 8, [("dev", b.ptr(dev), 0, 0), ("scratch", u64, 0, 0)], Kind.UNION)
    b.fields(
        "sk_buff",
        112,
        [
            ("", inner, 0, 0),
            ("sk", b.ptr(sock), 64, 0),
            ("len", u32, 128, 0),
            ("mark", u32, 160, 0),
            ("protocol", be16, 192, 0),
            ("network_header", u16, 208, 0),
            ("", flags, 256, 0),
            ("head", b.ptr(u8), 320, 0),
            ("skb_iif", s32, 384, 0),
            ("priority", s64, 448, 0),
            ("private", b.ptr(b.fwd("secret")), 512, 0),
            ("hash", u64, 576, 0),
            ("cb", b.array(char, 8), 640, 0),
        ],
    )
    b.fields("xdp_buff", 16, [("data_hard_start", b.ptr(u8), 0, 0), ("frame_sz", u32, 64, 0)])
    return b.btf()


def memory(dev: int = DEV, sock: int = SOCK) -> Memory:
    """mtu 1500, mark 0x10, from port 443 of 10.0.0.1, to an interface whose alias is "uplink"."""
    bits = 4 | 1 << 3 | 0x155 << 5 | (-3 & 31) << 20
    skb = struct.pack("<QQII", dev, sock, 98, 0x10) + b"\x08\x00" + struct.pack("<H", 14)
    skb = skb.ljust(32, b"\0") + struct.pack("<QQixxxxq", bits, HEAD, -7, -(1 << 40))
    skb += struct.pack("<QQ8s", PRIVATE, (1 << 64) - 2, b"abcdefgh")
    device = struct.pack("<16siII4xQ", b"eth0", -2, 1500, 1, ALIAS) + bytes.fromhex("020000000102")
    device = device.ljust(48, b"\0") + b"\1".ljust(8, b"\0") + struct.pack("<4H", 1, 2, 3, 4)
    common = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2") + struct.pack(">H", 443)
    common += struct.pack("<HB", 5000, 1) + b"\0\0\0" + socket.inet_pton(socket.AF_INET6, "fe80::1")
    ip = bytes([0x45]).ljust(8, b"\0") + bytes([64, 1, 0, 0]) + socket.inet_aton("192.0.2.7")
    return Memory(
        {
            SKB: skb.ljust(112, b"\0"),
            DEV: device.ljust(80, b"\0"),
            SOCK: common.ljust(32, b"\0") + struct.pack("<i", -32).ljust(8, b"\0"),
            HEAD: bytes(14) + ip.ljust(20, b"\0"),
            ALIAS: b"uplink\0",
        }
    )
