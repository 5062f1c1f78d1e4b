# SPDX-License-Identifier: Apache-2.0
"""Records out of the kernel: a ring buffer mapped into memory, or a queue map."""

from __future__ import annotations

import ctypes
import mmap
import select
import time
from collections.abc import Iterator
from typing import Protocol

from ..errors import LoadError
from .libbpf import Map

_BUSY = 1 << 31  # BPF_RINGBUF_BUSY_BIT: reserved, not yet submitted
_DISCARD = 1 << 30
_HEADER = 8
_GATHER_S = 0.005
"""How long a reader that was woken lets records gather: while it has not read, the kernel wakes it
for none of them, and waking it costs more than writing one."""


class Reader(Protocol):
    """Waits for records and hands them over in batches, oldest first."""

    def wait(self, seconds: float) -> bool:
        """Sleeps until there is a record, something on the wake descriptor, or for ``seconds``.

        True when there is a record, though it may be one that is still being written.
        """

    def read(self) -> Iterator[bytes]:
        """All records that are there now, back to back, each of ``stride`` bytes."""

    stride: int
    skip: int

    def close(self) -> None: ...


class RingReader:
    """``BPF_MAP_TYPE_RINGBUF`` (kernel/bpf/ringbuf.c).

    One page with the consumer's position, one with the producer's, then the data, mapped twice in
    a row so that no record is cut. Every record here has the same size, so a run of them is one
    array: ``stride`` bytes each, of which the first ``skip`` are the ring's header.
    """

    def __init__(self, ring: Map, ring_bytes: int, record_bytes: int, wake_fd: int) -> None:
        page = mmap.PAGESIZE
        self.skip = _HEADER
        self.stride = _HEADER + (record_bytes + 7 & ~7)
        self._record_bytes = record_bytes
        self._mask = ring_bytes - 1
        try:
            self._consumer = mmap.mmap(ring.fd, page)
            self._producer = mmap.mmap(
                ring.fd, page + 2 * ring_bytes, prot=mmap.PROT_READ, offset=page
            )
        except OSError as error:
            raise LoadError(f"cannot map the ring buffer: {error.strerror}") from None
        self._data = memoryview(self._producer)[page:]
        self._lengths = self._data.cast("I")
        self._produced = memoryview(self._producer)[:8].cast("Q")
        self._consumed = memoryview(self._consumer)[:8].cast("Q")
        self._epoll = select.epoll()
        self._epoll.register(ring.fd, select.EPOLLIN)
        self._epoll.register(wake_fd, select.EPOLLIN)

    def wait(self, seconds: float) -> bool:
        if self._produced[0] == self._consumed[0] and self._epoll.poll(seconds):
            time.sleep(_GATHER_S)
        return bool(self._produced[0] != self._consumed[0])

    def read(self) -> Iterator[bytes]:
        """At most a sixteenth of the ring at a time: room is given back early."""
        limit = max(self.stride, (self._mask + 1) // 16 // self.stride * self.stride)
        end = self._produced[0]
        while (start := self._consumed[0]) < end:
            run = self._ready(start, min(end - start, limit))
            if not run:
                return
            at = start & self._mask
            records = bytes(self._data[at : at + run])
            # The room goes back before the caller gets the records: it may stop at any batch.
            self._consumed[0] = start + run
            yield records

    def _ready(self, start: int, length: int) -> int:
        """How many of ``length`` bytes are submitted records; the rest is being written."""
        at = (start & self._mask) // 4
        lengths = self._lengths[at : at + length // 4 : self.stride // 4]
        words = lengths.tolist()
        if max(words) == self._record_bytes:
            return length
        for index, word in enumerate(words):
            if word & _BUSY:
                return index * self.stride
            if word != self._record_bytes:
                raise LoadError(f"the ring buffer holds a record of {word} bytes")
        return length

    def close(self) -> None:
        for view in (self._lengths, self._data, self._produced, self._consumed):
            view.release()
        self._epoll.close()
        self._consumer.close()
        self._producer.close()


class QueueReader:
    """``BPF_MAP_TYPE_QUEUE``: one system call a record, no way to be woken.

    So it looks again after a pause that doubles from 1 ms to 50 ms while nothing comes.
    """

    BATCH = 512

    def __init__(self, queue: Map, record_bytes: int, wake_fd: int) -> None:
        self.skip = 0
        self.stride = record_bytes
        self._queue = queue
        self._element = ctypes.create_string_buffer(record_bytes)
        self._first: bytes | None = None
        self._poll = select.poll()
        self._poll.register(wake_fd, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        pause = 0.001
        while self._first is None:
            if self._queue.pop(self._element):
                self._first = self._element.raw
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._poll.poll(min(pause, left) * 1000):
                return False
            pause = min(pause * 2, 0.05)
        return True

    def read(self) -> Iterator[bytes]:
        """Until it is empty, but at most a batch."""
        records = [self._first] if self._first is not None else []
        self._first = None
        while len(records) < self.BATCH and self._queue.pop(self._element):
            records.append(self._element.raw)
        if records:
            yield b"".join(records)

    def close(self) -> None:
        pass
