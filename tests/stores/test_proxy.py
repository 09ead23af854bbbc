"""The proxy does what it says, or the tests behind it would show nothing."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from .proxy import CUTS, KINDS, REFUSALS, Fault, FaultProxy, Kind, always, fault_proxy, some
from .servers import http_ranges

CONTENT = bytes(range(256)) * 2000


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a web server with one file."""
    folder = tmp_path_factory.mktemp("proxy") / "served"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    with http_ranges(folder) as store:
        yield store.port


def received(proxy: FaultProxy) -> tuple[bytes, str]:
    """All that a request for the file is answered with, and how it ends."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3) as link:
        link.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        parts = []
        try:
            while data := link.recv(1 << 16):
                parts.append(data)
        except ConnectionResetError:
            return b"".join(parts), "reset"
        except TimeoutError:
            return b"".join(parts), "stall"
        return b"".join(parts), "close"


@pytest.mark.parametrize("kind", CUTS)
@pytest.mark.parametrize("after", [0, 100, 300_000])
def test_a_response_ends_at_the_byte_asked_for(port: int, kind: Kind, after: int) -> None:
    with fault_proxy(port) as proxy:
        whole, end = received(proxy)
        assert end == "close"
        assert whole.endswith(CONTENT)
        proxy.schedule = always(kind, after)
        cut, end = received(proxy)
    assert end == kind
    assert len(cut) == after
    assert dict(proxy.struck) == {kind: 1}
    assert proxy.responses == 2


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_takes_the_place_of_the_answer(port: int, kind: Kind) -> None:
    with fault_proxy(port, always(kind)) as proxy:
        said, end = received(proxy)
    assert said.startswith(f"HTTP/1.1 {kind} ".encode())
    assert (end, dict(proxy.struck)) == ("close", {kind: 1})


def test_responses_of_one_connection_are_counted_one_by_one(port: int) -> None:
    third = {2: Fault("close", 1000)}
    with fault_proxy(port, third.get) as proxy:
        link = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        for _ in range(2):
            link.request("GET", "/file")
            assert link.getresponse().read() == CONTENT
        link.request("GET", "/file")
        with pytest.raises(http.client.IncompleteRead):
            link.getresponse().read()
        link.close()
    assert proxy.responses == 3


def test_a_response_that_is_short_enough_gets_through(port: int) -> None:
    with fault_proxy(port, always("reset", len(CONTENT) + 1000)) as proxy:
        assert received(proxy)[0].endswith(CONTENT)
    assert not proxy.struck


def test_a_seeded_schedule_repeats() -> None:
    faults = [some(3, share=0.3, longest=1000)(number) for number in range(1000)]
    assert faults == [some(3, share=0.3, longest=1000)(number) for number in range(1000)]
    assert faults != [some(4, share=0.3, longest=1000)(number) for number in range(1000)]
    struck = [fault for fault in faults if fault]
    assert 200 < len(struck) < 400
    assert {fault.kind for fault in struck} == set(KINDS)
