# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import mmap
import os
import select
import struct
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pwru_py.errors import LoadError
from pwru_py.kernel import transport
from pwru_py.kernel.transport import QueueReader, RingReader

PAGE = mmap.PAGESIZE
RING_BYTES = PAGE
RECORD_BYTES = 136
STRIDE = 8 + RECORD_BYTES
BUSY, DISCARD = 1 << 31, 1 << 30
LONG_S = 30.0  # a wait that is never waited for to its end


class Ring:
    """The memory of a ring buffer map in a memfd, and the kernel's way of filling it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, 2 * PAGE + 2 * RING_BYTES)
        self.readable = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.produced = 0

    @property
    def consumed(self) -> int:
        return int(struct.unpack("=Q", os.pread(self.fd, 8, 0))[0])

    def start_at(self, position: int) -> None:
        self.produced = position
        os.pwrite(self.fd, struct.pack("=Q", position), 0)
        os.pwrite(self.fd, struct.pack("=Q", position), PAGE)

    def _write(self, position: int, raw: bytes) -> None:
        """The data is mapped twice in a row; a memfd has two copies instead."""
        for index, byte in enumerate(raw):
            at = 2 * PAGE + (position + index) % RING_BYTES
            for copy in (at, at + RING_BYTES):
                os.pwrite(self.fd, bytes([byte]), copy)

    def put(self, text: bytes, flags: int = 0, size: int = RECORD_BYTES) -> int:
        """Reserves and, without BUSY, submits a record. Returns its position."""
        assert self.produced + STRIDE - self.consumed <= RING_BYTES, "full"
        position = self.produced
        self._write(position, struct.pack("=II", size | flags, 0) + text.ljust(RECORD_BYTES, b"\0"))
        self.produced += STRIDE
        os.pwrite(self.fd, struct.pack("=Q", self.produced), PAGE)
        if not flags & BUSY:
            os.eventfd_write(self.readable, 1)
        return position

    def submit(self, position: int) -> None:
        self._write(position, struct.pack("=I", RECORD_BYTES))
        os.eventfd_write(self.readable, 1)


class Wake:
    """The pipe that ends a wait."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __call__(self) -> None:
        os.write(self._write_fd, b"x")

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self._write_fd)


@pytest.fixture
def wake() -> Iterator[Wake]:
    made = Wake()
    yield made
    made.close()


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    made = Ring()

    class Epoll:
        """A memfd cannot be polled: an eventfd stands for it."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.poll, self.close = self._epoll.poll, self._epoll.close

        def register(self, fd: int, events: int) -> None:
            self._epoll.register(made.readable if fd == made.fd else fd, events)

    monkeypatch.setattr(transport, "select", SimpleNamespace(**vars(select) | {"epoll": Epoll}))
    yield made
    os.close(made.fd)
    os.close(made.readable)


@pytest.fixture
def reader(ring: Ring, wake: Wake) -> Iterator[RingReader]:
    made = RingReader(ring, RING_BYTES, RECORD_BYTES, wake.read_fd)  # type: ignore[arg-type]
    yield made
    made.close()


def texts(reader: Any) -> list[bytes]:
    """What every record holds, whatever the runs."""
    return [
        bytes(run[at + reader.skip : at + reader.stride]).rstrip(b"\0")
        for run in reader.read()
        for at in range(0, len(run), reader.stride)
    ]


# Ring


def test_records_in_order_and_room_given_back(ring: Ring, reader: RingReader) -> None:
    assert (reader.skip, reader.stride) == (8, STRIDE)
    assert texts(reader) == []
    for name in (b"a", b"b", b"c"):
        ring.put(name)
    assert reader.wait(LONG_S)
    assert texts(reader) == [b"a", b"b", b"c"]
    assert ring.consumed == ring.produced
    assert texts(reader) == []


@pytest.mark.parametrize("start", [0, RING_BYTES - STRIDE - 8, RING_BYTES - 8, (1 << 40) - 16])
def test_no_record_is_cut_where_the_ring_begins_again(
    start: int, ring: Ring, reader: RingReader
) -> None:
    ring.start_at(start)
    for lap in range(3):
        names = [b"%d-%d" % (lap, n) for n in range(RING_BYTES // STRIDE)]
        for name in names:
            ring.put(name)
        assert texts(reader) == names


def test_at_most_a_part_of_the_ring_at_a_time(ring: Ring, wake: Wake) -> None:
    reader = RingReader(ring, RING_BYTES, RECORD_BYTES, wake.read_fd)  # type: ignore[arg-type]
    limit = max(STRIDE, RING_BYTES // 16 // STRIDE * STRIDE)
    for n in range(10):
        ring.put(b"%d" % n)
    seen = 0
    for run in reader.read():
        assert len(run) <= limit
        seen += len(run)
        assert ring.consumed == seen, "room is given back at once: who stops here has read this"
    assert ring.consumed == seen == ring.produced
    del run
    reader.close()


def test_a_record_that_is_being_written_holds_up_those_behind_it(
    ring: Ring, reader: RingReader
) -> None:
    ring.put(b"a")
    slow = ring.put(b"slow", BUSY)
    ring.put(b"b")
    assert texts(reader) == [b"a"]
    assert reader.wait(LONG_S), "there is something, though not yet"
    assert texts(reader) == []
    ring.submit(slow)
    assert texts(reader) == [b"slow", b"b"]


def test_records_that_arrive_while_reading_wait_for_the_next_read(
    ring: Ring, reader: RingReader
) -> None:
    ring.put(b"a")
    runs = reader.read()
    next(runs)
    ring.put(b"b")
    assert list(runs) == []
    assert texts(reader) == [b"b"]


@pytest.mark.parametrize(("flags", "size"), [(DISCARD, RECORD_BYTES), (0, 648), (0, 0)])
def test_a_record_of_another_size_is_an_error(
    flags: int, size: int, ring: Ring, reader: RingReader
) -> None:
    ring.put(b"odd", flags, size)
    with pytest.raises(LoadError, match="the ring buffer holds a record of"):
        texts(reader)


def test_an_idle_wait_ends_with_a_record(ring: Ring, reader: RingReader) -> None:
    threading.Timer(0.05, ring.put, [b"late"]).start()
    before = time.monotonic()
    assert reader.wait(LONG_S)
    assert time.monotonic() - before < LONG_S / 2
    assert texts(reader) == [b"late"]


def test_an_idle_wait_sleeps(reader: RingReader) -> None:
    before = time.process_time()
    assert not reader.wait(0.2)
    assert time.process_time() - before < 0.1


def test_waking_is_no_record(ring: Ring, reader: RingReader, wake: Wake) -> None:
    threading.Timer(0.05, wake).start()
    before = time.monotonic()
    assert not reader.wait(LONG_S)
    assert time.monotonic() - before < LONG_S / 2
    assert not reader.wait(0), "else whoever empties the ring after a stop never ends"
    ring.put(b"a")
    assert reader.wait(0)


def test_closing_while_a_run_is_in_use(ring: Ring, wake: Wake) -> None:
    reader = RingReader(ring, RING_BYTES, RECORD_BYTES, wake.read_fd)  # type: ignore[arg-type]
    ring.put(b"a")
    runs = reader.read()
    run = next(runs)
    reader.close()
    assert bytes(run[8:9]) == b"a"
    del run, runs
    reader.close()


def test_memory_that_cannot_be_mapped(wake: Wake) -> None:
    null = SimpleNamespace(fd=os.open(os.devnull, os.O_RDONLY))
    with pytest.raises(LoadError, match="cannot map the ring buffer: "):
        RingReader(null, RING_BYTES, RECORD_BYTES, wake.read_fd)  # type: ignore[arg-type]
    os.close(null.fd)


# Queue


class Queue:
    """A queue map: ``pop`` copies the oldest element."""

    def __init__(self) -> None:
        self.elements: list[bytes] = []
        self.pops = 0

    def pop(self, buffer: ctypes.Array[ctypes.c_char]) -> bool:
        self.pops += 1
        if not self.elements:
            return False
        ctypes.memmove(buffer, self.elements.pop(0), len(buffer))
        return True

    def put(self, text: bytes) -> None:
        self.elements.append(text.ljust(RECORD_BYTES, b"\0"))


def queue_reader(queue: Queue, wake: Wake) -> QueueReader:
    return QueueReader(queue, RECORD_BYTES, wake.read_fd)  # type: ignore[arg-type]


def test_a_queue_is_read_in_order_and_in_batches(wake: Wake) -> None:
    queue = Queue()
    reader = queue_reader(queue, wake)
    names = [b"%d" % n for n in range(QueueReader.BATCH + 10)]
    for name in names:
        queue.put(name)
    assert (reader.skip, reader.stride) == (0, RECORD_BYTES)
    assert reader.wait(LONG_S)
    assert reader.wait(LONG_S), "the one that was taken is not lost"
    first, second, third = texts(reader), texts(reader), texts(reader)
    assert first + second == names
    assert (len(first), third) == (QueueReader.BATCH, [])
    reader.close()


def test_an_empty_queue_is_asked_ever_less_often(wake: Wake) -> None:
    queue = Queue()
    assert not queue_reader(queue, wake).wait(0.3)
    assert queue.pops < 20
    before = time.monotonic()
    assert not queue_reader(queue, wake).wait(0)
    assert time.monotonic() - before < 0.2


def test_an_idle_wait_for_a_queue_ends_with_a_record_or_by_waking(wake: Wake) -> None:
    queue = Queue()
    reader = queue_reader(queue, wake)
    threading.Timer(0.05, queue.put, [b"late"]).start()
    before = time.monotonic()
    assert reader.wait(LONG_S)
    assert texts(reader) == [b"late"]
    threading.Timer(0.05, wake).start()
    assert not reader.wait(LONG_S)
    assert time.monotonic() - before < LONG_S / 2
    queue.put(b"last")
    assert reader.wait(0)
    assert texts(reader) == [b"last"]
