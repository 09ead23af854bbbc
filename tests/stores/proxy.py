"""A TCP proxy on loopback that spoils what a store answers."""

from __future__ import annotations

import fcntl
import random
import select
import socket
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

Kind = Literal["reset", "close", "stall", "500", "503"]
CUTS: tuple[Kind, ...] = ("reset", "close", "stall")
REFUSALS: tuple[Kind, ...] = ("500", "503")
KINDS: tuple[Kind, ...] = CUTS + REFUSALS
REASONS = {"500": "Internal Server Error", "503": "Service Unavailable"}

CHUNK = 1 << 16
WAIT = 10.0
"""Seconds that either side may take to accept what it is sent."""


@dataclass(frozen=True)
class Fault:
    """What happens to one response.

    Attributes:
        kind: `reset` (RST), `close` (FIN) and `stall` (silence, with the connection open) strike within the response;
            `500` and `503` are answered in its place, and the store never sees the request.
        after: bytes of the response, its head included, that still get through. A shorter response is left alone.
    """

    kind: Kind
    after: int = 0


Schedule = Callable[[int], Fault | None]
"""From the number of a response (from 0, over all connections) to what happens to it."""


def never(number: int) -> Fault | None:
    """Every response gets through."""
    return None


def always(kind: Kind, after: int = 0) -> Schedule:
    """Every response that is long enough is spoilt."""
    return lambda number: Fault(kind, after)


def some(seed: int, *, share: float, kinds: tuple[Kind, ...] = KINDS, longest: int) -> Schedule:
    """A share of the responses is spoilt, each by a kind and after a number of bytes below `longest` that depend on
    the seed and the response's number alone."""

    def fault(number: int) -> Fault | None:
        rng = random.Random(f"{seed}/{number}")
        return Fault(rng.choice(kinds), rng.randrange(longest)) if rng.random() < share else None

    return fault


class FaultProxy:
    """Forwards to a store; `schedule` may be changed at any time. See `fault_proxy`.

    A response is whatever the store sends between two requests of one connection, so pipelining isn't understood.

    Attributes:
        port: where it listens.
        responses: how many were begun.
        struck: how many of them were spoilt, by kind.
    """

    def __init__(self, listener: socket.socket, upstream: int, schedule: Schedule) -> None:
        self.schedule = schedule
        self.port: int = listener.getsockname()[1]
        self.responses = 0
        self.struck: Counter[str] = Counter()
        self._listener, self._upstream = listener, upstream
        self._lock = threading.Lock()

    def serve(self, stop: socket.socket) -> None:
        """Take connections until `stop` becomes readable; returns when all have ended."""
        links: list[threading.Thread] = []
        while stop not in _readable(stop, self._listener):
            client = self._listener.accept()[0]
            links.append(threading.Thread(target=self._link, args=(client, stop), name="fault-proxy-link"))
            links[-1].start()
        for link in links:
            link.join()

    def next_fault(self) -> Fault | None:
        """What happens to the response that begins now."""
        with self._lock:
            number = self.responses
            self.responses += 1
        return self.schedule(number)

    def count(self, kind: Kind) -> None:
        """Note that a response was spoilt."""
        with self._lock:
            self.struck[kind] += 1

    def _link(self, client: socket.socket, stop: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._upstream), WAIT) as store:
            client.settimeout(WAIT)
            _Link(self, client, store, stop).run()


class _Link:
    """One connection of a client with one to the store."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, store: socket.socket, stop: socket.socket) -> None:
        self._proxy, self._client, self._store, self._stop = proxy, client, store, stop
        self._fault: Fault | None = None
        self._sent = 0
        self._answered = True

    def run(self) -> None:
        """Forward until either side ends or a fault strikes."""
        going = True
        while going:
            ready = _readable(self._stop, self._client, self._store)
            going = self._stop not in ready
            if going and self._client in ready:
                going = self._request(self._client.recv(CHUNK))
            if going and self._store in ready:
                going = self._answer(self._store.recv(CHUNK))

    def _request(self, data: bytes) -> bool:
        if data and self._answered:
            self._answered, self._sent = False, 0
            self._fault = self._proxy.next_fault()
        if data and self._fault and self._fault.kind in REASONS:
            self._refuse(self._fault.kind)
            return False
        self._store.sendall(data)
        return bool(data)

    def _answer(self, data: bytes) -> bool:
        self._answered = True
        fault = self._fault
        if data and fault and self._sent + len(data) > fault.after:
            self._client.sendall(data[: fault.after - self._sent])
            self._strike(fault.kind)
            return False
        self._sent += len(data)
        self._client.sendall(data)
        return bool(data)

    def _refuse(self, kind: Kind) -> None:
        self._proxy.count(kind)
        head = f"HTTP/1.1 {kind} {REASONS[kind]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self._client.sendall(head.encode())

    def _strike(self, kind: Kind) -> None:
        self._proxy.count(kind)
        if kind == "stall":
            while self._stop not in _readable(self._stop, self._client) and self._client.recv(CHUNK):
                pass
        if kind == "reset":
            until = time.monotonic() + WAIT
            while _unsent(self._client) and time.monotonic() < until:  # a reset would drop it
                time.sleep(0.001)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _readable(*sockets: socket.socket) -> list[socket.socket]:
    return select.select(sockets, [], [])[0]


def _unsent(wire: socket.socket) -> int:
    """Bytes that the other end's kernel hasn't acknowledged."""
    number: int = struct.unpack("i", fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, b"    "))[0]
    return number


@contextmanager
def fault_proxy(upstream: int, schedule: Schedule = never) -> Iterator[FaultProxy]:
    """A proxy before the store at port `upstream` of loopback; its connections end with the block."""
    stop, stopper = socket.socketpair()
    with stop, stopper, socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        proxy = FaultProxy(listener, upstream, schedule)
        thread = threading.Thread(target=proxy.serve, args=(stop,), name="fault-proxy")
        thread.start()
        try:
            yield proxy
        finally:
            stopper.sendall(b"!")
            thread.join()
