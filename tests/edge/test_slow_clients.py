"""Clients that are slow, silent or greedy, against the native edge's deadlines. Time is what the tick is told it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from routebook.edge.native import HELD_MAX, Connection
from routebook.edge.native_server import NativeServer
from routebook.edge.shared import Edge
from routebook.observe.clock import NS
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import RunningGateway
from tests.edge.conftest import connect, connections
from tests.edge.test_protocol import CHAT, ask, chat, events, record
from tests.edge.wire import SMALL, Wire, request


@pytest.fixture(autouse=True)
def ticks_by_hand(native: RunningGateway) -> Iterator[None]:
    """The server's own timer stands still, and time starts at now."""
    server = native.server
    assert isinstance(server, NativeServer)

    async def stop() -> None:
        assert server._timer is not None
        server._timer.cancel()

    async def start() -> None:
        server._tick()

    native.run(stop())
    after(native, 0)
    yield
    native.run(start())


def edge_of(native: RunningGateway) -> Edge:
    assert isinstance(native.server, NativeServer)
    return native.server.edge


def after(native: RunningGateway, seconds: float) -> None:
    """The edge's tick, as if that much time had passed from now."""

    async def tick() -> None:
        edge = edge_of(native)
        edge.tick(edge.app.now_ns() + int(seconds * NS))

    native.run(tick())


def connected(native: RunningGateway) -> Connection:
    """The one connection there is, from inside."""
    native.until(lambda: connections(native) == 1)
    (found,) = edge_of(native).connections
    return found


def has_read(native: RunningGateway, count: int) -> None:
    """The edge has read a head that is not complete, of that many bytes; or that many of a body."""
    reader = connected(native)._reader

    def reads() -> bool:
        coming = reader.current
        return coming is not None and count in (coming.framing, coming.size)

    native.until(reads)


def test_a_head_that_does_not_end_is_refused_after_ten_seconds(native: RunningGateway) -> None:
    with connect(native) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: ga")
        has_read(native, 31)
        after(native, 9)
        wire.send(b"teway.test\r\nX-A: ")
        has_read(native, 48)
        after(native, 12)
        (got,) = wire.to_the_end()
    assert got.status == 408
    assert got.headers["connection"] == "close"


def test_a_head_in_time_is_answered(native: RunningGateway) -> None:
    with connect(native) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: ga")
        has_read(native, 31)
        after(native, 9)
        wire.send(b"teway.test\r\n\r\n")
        assert wire.answer().status == 200


def test_a_body_that_stops_is_refused(native: RunningGateway, native_key: str) -> None:
    with connect(native) as wire:
        wire.send(chat(native_key, b"x" * 5000)[:-1000])
        has_read(native, 4000)
        after(native, 8)
        after(native, 11)
        (got,) = wire.to_the_end()
    assert got.status == 408


def test_a_body_that_keeps_its_pace_may_take_long(native: RunningGateway, native_key: str) -> None:
    body = ask("[[completion=2]]" + "x" * 100_000)
    whole = chat(native_key, body)
    start = len(whole) - len(body)
    with connect(native) as wire:
        wire.send(whole[: start + 20_000])
        for minute in range(1, 5):
            has_read(native, 20_000 * minute)
            after(native, 5 + 19 * minute)
            wire.send(whole[start + 20_000 * minute : start + 20_000 * (minute + 1)])
        wire.send(whole[start + 100_000 :])
        assert wire.answer().status == 200


def test_a_body_of_one_byte_chunks_below_the_pace_is_refused(native: RunningGateway, native_key: str) -> None:
    with connect(native) as wire:
        wire.send(request("POST", CHAT, Authorization=f"Bearer {native_key}", Transfer_Encoding="chunked"))
        wire.send(b"1\r\nx\r\n" * 50)
        has_read(native, 50)
        after(native, 7)
        (got,) = wire.to_the_end()
    assert got.status == 408


@pytest.mark.parametrize("sent", [b"", b"\r\n" * 1000])
def test_a_connection_without_a_request_is_closed_after_75_seconds(native: RunningGateway, sent: bytes) -> None:
    with connect(native) as wire:
        wire.send(sent)
        connected(native)
        after(native, 73)
        assert connections(native) == 1
        after(native, 77)
        assert wire.to_the_end() == []


def test_a_connection_is_kept_between_requests_and_then_closed(native: RunningGateway) -> None:
    with connect(native) as wire:
        wire.send(request())
        assert wire.answer().status == 200
        after(native, 60)
        wire.send(request())
        assert wire.answer().status == 200
        # Idle counts from the last answer, which the tick before has put a minute ahead.
        after(native, 60 + 73)
        assert connections(native) == 1
        after(native, 60 + 77)
        assert wire.to_the_end() == []


def test_an_answer_that_takes_its_time_is_no_idle_connection(
    native: RunningGateway, native_key: str, provider: ScriptedProvider
) -> None:
    with connect(native) as wire:
        wire.send(chat(native_key, ask("[[completion=6 pieces=3 hang=1]]", stream=True)))
        wire.read_until(b"data: ")
        after(native, 600)
        provider.release()
        assert events(wire.answer())[-1] == "[DONE]"


def comes_to_rest(native: RunningGateway, connection: Connection) -> None:
    """The system between the edge and a client that reads nothing has taken all that it takes."""
    sizes: list[int] = []

    def still() -> bool:
        sizes.append(connection._transport.get_write_buffer_size())
        return sizes[-1] > 0 and len(sizes) > 100 and len(set(sizes[-100:])) == 1

    native.until(still)


@contextmanager
def reading_nothing(native: RunningGateway, key: str, pieces: int = 30_000) -> Iterator[Wire]:
    """A client with a long answer under way, none of which it reads."""
    with Wire(native.port, receive_buffer=SMALL) as wire:
        wire.send(chat(key, ask(f"[[completion={2 * pieces} pieces={pieces}]]", stream=True)))
        connection = connected(native)
        native.until(lambda: connection.is_full)
        yield wire


def test_a_client_that_reads_nothing_is_cut_off_and_the_provider_with_it(
    native: RunningGateway, native_key: str, provider: ScriptedProvider
) -> None:
    # Kernels hold many megabytes between two sockets; the answer must be longer than that, or the provider finishes.
    with reading_nothing(native, native_key, pieces=100_000) as wire:
        comes_to_rest(native, connected(native))
        after(native, 0)
        after(native, 48)
        assert connections(native) == 1
        after(native, 52)
        native.until(lambda: connections(native) == 0 and not native.gateway.app.entries)
        got = wire.to_the_end()[-1]
    assert not got.complete, "a cut answer must not look like a whole one"
    told = record(native, native_key, got.headers["x-generation-id"])
    assert told["cancelled"] is True
    # The provider is shared with other cases, whose bills may come in meanwhile: this call's has its id.
    native.until(lambda: any(bill.id == told["upstream_id"] for bill in provider.bill))
    assert [bill.whole for bill in provider.bill if bill.id == told["upstream_id"]] == [False]


def test_a_client_that_reads_slowly_but_reads_is_not_cut_off(native: RunningGateway, native_key: str) -> None:
    with reading_nothing(native, native_key) as wire:
        connection = connected(native)
        for minute in range(1, 4):
            after(native, 48 * minute)
            before = connection._transport.get_write_buffer_size()
            while connection._transport.get_write_buffer_size() == before:
                assert wire.more()
        after(native, 48 * 4)
        assert events(wire.answer())[-1] == "[DONE]"


def test_a_whole_answer_that_nobody_takes_is_cut_off_too(native: RunningGateway, native_key: str) -> None:
    with Wire(native.port, receive_buffer=SMALL) as wire:
        wire.send(chat(native_key, ask("[[completion=400000 pieces=200000]]"), Connection="close"))
        connection = connected(native)
        native.until(lambda: connection._dead)
        comes_to_rest(native, connection)
        after(native, 0)
        after(native, 52)
        native.until(lambda: connections(native) == 0)


def test_a_client_that_asks_and_asks_and_reads_nothing_fills_no_memory(native: RunningGateway) -> None:
    with Wire(native.port, receive_buffer=SMALL) as wire:
        wire.socket.settimeout(0.2)
        sent = 0
        with suppress(TimeoutError):
            while True:
                sent += wire.socket.send(request("GET", "/api/v1/models") * 1000)
        connection = connected(native)
        assert connection._held_bytes < HELD_MAX + 100_000
        assert len(connection._reader.arrived) < 10_000, "what came in the last read, not more"
        wire.socket.settimeout(10)
        comes_to_rest(native, connection)
        after(native, 0)
        after(native, 52)
        native.until(lambda: connections(native) == 0)


def test_a_refused_client_that_does_not_go_is_closed(native: RunningGateway) -> None:
    with connect(native) as wire:
        wire.send(b"no request\r\n\r\n")
        assert wire.answer().status == 400
        wire.offer(b"and more of it")
        assert connections(native) == 1
        after(native, 4)
        native.until(lambda: connections(native) == 0)


def test_a_half_closed_client_is_one_that_has_gone(native: RunningGateway) -> None:
    with connect(native) as wire:
        wire.send(request())
        assert wire.answer().status == 200
        wire.socket.shutdown(1)
        assert wire.to_the_end() == []


def test_connections_above_the_most_are_told_so(native: RunningGateway) -> None:
    edge, most = edge_of(native), edge_of(native).connections_max
    edge.connections_max = 2
    wires = []
    try:
        for count in (1, 2):
            wires.append(connect(native))
            wires[-1].send(request())
            assert wires[-1].answer().status == 200
            assert connections(native) == count
        with connect(native) as third:
            third.offer(request())
            (got,) = third.to_the_end()
            assert got.status == 503
            assert got.headers["retry-after"] == "1"
        wires[0].send(request())
        assert wires[0].answer().status == 200
    finally:
        edge.connections_max = most
        for wire in wires:
            wire.close()


def test_many_clients_that_send_half_a_head_do_not_keep_others_out(native: RunningGateway) -> None:
    slow = [connect(native) for _ in range(300)]
    try:
        for wire in slow:
            wire.send(b"GET /healthz HTTP/1.1\r\nX-A: ")
        native.until(lambda: connections(native) == 300)
        with connect(native) as wire:
            wire.send(request())
            assert wire.answer().status == 200
        after(native, 12)
        assert {got.status for wire in slow for got in wire.to_the_end()} == {408}
    finally:
        for wire in slow:
            wire.close()
