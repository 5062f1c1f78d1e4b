# SPDX-License-Identifier: Apache-2.0
"""What a function has returned, by the type that BTF gives it. Pure."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from .btf import Btf, Kind, TypeId
from .tables import verdict_name

_ERRNO_MAX = 4095  # MAX_ERRNO, include/linux/err.h
_REGISTER = 64
_BOOL_BITS = 8
_REASONS = "skb_drop_reason"
_QUEUE = "QUEUE"
_MASK = 0xFF  # NF_VERDICT_MASK
REASON_PREFIXES = ("SKB_DROP_REASON_", "SKB_", "")
"""What the kernel's drop reasons may begin with, and events do not show."""
# What Python lacks or calls otherwise: include/linux/errno.h, include/uapi/asm-generic/errno.h
_ERRNOS = {
    **errno.errorcode,
    35: "EDEADLK", 95: "EOPNOTSUPP", 512: "ERESTARTSYS", 513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD", 516: "ERESTART_RESTARTBLOCK", 517: "EPROBE_DEFER",
    518: "EOPENSTALE", 519: "ENOPARAM", 521: "EBADHANDLE", 522: "ENOTSYNC", 523: "EBADCOOKIE",
    524: "ENOTSUPP", 525: "ETOOSMALL", 526: "ESERVERFAULT", 527: "EBADTYPE", 528: "EJUKEBOX",
    529: "EIOCBQUEUED", 530: "ERECALLCONFLICT",
}  # fmt: skip
ERRNO_NUMBERS = {name: number for number, name in _ERRNOS.items()}


class Value(NamedTuple):
    """``number``: as C has it, a pointer that is an error as its errno, below 0; None of no number.

    ``text``: as people call it; '' of nothing.
    """

    number: int | None
    text: str


Read = Callable[[int], Value]
"""From a register of 64 bits."""

NOTHING = Value(None, "")


def errno_name(number: int) -> str:
    """``-EPERM`` of -1; '' where there is no such errno."""
    name = _ERRNOS.get(-number)
    return f"-{name}" if name and number < 0 else ""


def _integer(register: int, bits: int, signed: bool) -> Value:
    number = register & (1 << bits) - 1
    if signed and number >> bits - 1:
        number -= 1 << bits
    return Value(number, errno_name(number) or str(number))


def _bool(register: int) -> Value:
    number = int(register & (1 << _BOOL_BITS) - 1 != 0)
    return Value(number, "true" if number else "false")


def _pointer(register: int) -> Value:
    error = register - (1 << _REGISTER)
    if error >= -_ERRNO_MAX:
        return Value(error, f"ERR_PTR({errno_name(error) or error})")
    return Value(register, f"0x{register:x}" if register else "NULL")


def _enum(register: int, bits: int, names: dict[int, str]) -> Value:
    """Negative where an enumerator is."""
    number = register & (1 << bits) - 1
    if number >> bits - 1 and min(names, default=0) < 0:
        number -= 1 << bits
    return Value(number, names.get(number, str(number)))


def _drop_reason(register: int, name: Callable[[int], str]) -> Value:
    number = register & 0xFFFFFFFF
    return Value(number, name(number))


def verdict(register: int) -> Value:
    """Of netfilter: an errno, or a queue's number, is in its upper 16 bits."""
    number = register & 0xFFFFFFFF
    name, more = verdict_name(number), number >> 16
    if name.isdigit():
        return Value(number, str(number))
    if not more:
        return Value(number, f"NF_{name}")
    return Value(number, f"NF_{name} {more}" if name == _QUEUE else f"NF_{name} ({_error(-more)})")


def has_name(btf: Btf, name: str) -> bool:
    """Whether a value can have this name, of a drop reason also the short one."""
    if any(name == verdict(number).text for number in range(_MASK + 1)):
        return True
    return any(btf.enumerator(prefix + name) is not None for prefix in REASON_PREFIXES)


def _error(number: int) -> str:
    return errno_name(number) or str(number)


def _structure(register: int) -> Value:
    return Value(None, "a structure")


def _nothing(register: int) -> Value:
    return NOTHING


def unknown(register: int) -> Value:
    """Of a type that is not known: the register."""
    return Value(register, f"0x{register:x}")


class ReturnTypes:
    """How functions' values are read. ``btfs``: the kernel's, then modules', asked when first used.

    ``reason``: the name of a drop reason.
    """

    def __init__(
        self, btf: Callable[[str], Btf | None], reason: Callable[[int], str] = str
    ) -> None:
        self._btf = btf
        self._reason = reason
        self._known: dict[tuple[str, str], Read] = {}

    def read(self, func: str, module: str, register: int) -> Value:
        """``module``: '' for the kernel itself."""
        try:
            reader = self._known[func, module]
        except KeyError:
            reader = self._known[func, module] = self._find(func, module)
        return reader(register)

    def _find(self, func: str, module: str) -> Read:
        """Where BTF has several functions of the name, their types must be the same."""
        btf = self._btf(module)
        if btf is None:
            return unknown
        found = {self._key(btf, proto): proto for proto in _prototypes(btf, func)}
        if len(found) != 1:
            return unknown
        (proto,) = found.values()
        return self._reader(btf, proto)

    @staticmethod
    def _key(btf: Btf, proto: TypeId) -> tuple[TypeId, bool]:
        return btf.resolve(btf.target(proto)), _takes_hook(btf, proto)

    def _reader(self, btf: Btf, proto: TypeId) -> Read:
        plain = btf.resolve(btf.target(proto))
        kind = btf.kind(plain)
        if not plain or kind is None:
            return _nothing
        if kind is Kind.PTR:
            return _pointer
        if kind in (Kind.ENUM, Kind.ENUM64):
            if btf.type_name(plain) == _REASONS:
                return partial(_drop_reason, name=self._reason)
            names = {number: name for name, number in reversed(btf.enumerators(plain).items())}
            return partial(_enum, bits=8 * btf.size(plain), names=names)
        if kind is not Kind.INT:
            return _structure
        number = btf.integer(plain)
        if number.boolean:
            return _bool
        if not number.signed and _takes_hook(btf, proto):
            return verdict
        return partial(_integer, bits=8 * btf.size(plain), signed=number.signed)


def _prototypes(btf: Btf, func: str) -> Iterator[TypeId]:
    for function in btf.named(func, (Kind.FUNC,)):
        yield btf.target(function)


def _takes_hook(btf: Btf, proto: TypeId) -> bool:
    """Who is told at which hook a packet is answers with a verdict, if with an unsigned number."""
    for parameter in btf.parameter_types(proto):
        plain = btf.resolve(TypeId(parameter))
        if btf.kind(plain) is Kind.PTR:
            pointed = btf.resolve(btf.target(plain))
            if btf.type_name(pointed) == "nf_hook_state":
                return True
    return False
