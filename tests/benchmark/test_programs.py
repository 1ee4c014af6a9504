"""The benchmark's two C programs: the generator must notice every kind of bad answer, the mock must answer as told."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.aims import AIMS
from bench.prepared import PREPARED, PROSE, STREAMED, TEXTS, WHOLE, Prepared
from bench.tools import Bodies, compiled

from routebook.core.events import Counted, Delta, Finish
from routebook.core.ids import Mint
from routebook.dialects import registry
from routebook.wire.http import HttpHead
from tests.dialects.plainest import plainest

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here; only the benchmark needs it")

JSON = b'{"usage": {"total_tokens": 3}}'


def unary(status: bytes = b"200 OK", length: int = len(JSON), body: bytes = JSON) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, length, body)


def stream(*events: bytes, end: bytes = b"0\r\n\r\n", too_long: int = 0) -> bytes:
    out = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    for event in events:
        line = b"data: " + event + b"\n\n"
        out += b"%x\r\n%s\r\n" % (len(line) + too_long, line)
    return out + end


@pytest.fixture(scope="module")
def load() -> Path:
    return compiled("load")


def answered(load: Path, answer: bytes, tmp_path: Path, *flags: str) -> dict[str, Any]:
    """What the generator says of one request that is answered with these bytes and the end of the connection."""
    body = tmp_path / "body"
    body.write_bytes(b"{}")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

        server = threading.Thread(target=serve)
        server.start()
        command = [str(load), "-p", str(listener.getsockname()[1]), "-b", str(body), "-n", "1", *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        server.join()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        pytest.param(unary(), "good", id="good"),
        pytest.param(unary(b"500 Oh"), "wrong_status", id="status 500"),
        pytest.param(unary(length=len(JSON) - 1), "bad_framing", id="longer than its length"),
        pytest.param(unary(length=len(JSON) + 1), "lost", id="shorter than its length"),
        pytest.param(unary(body=b"{}", length=2), "bad_content", id="without usage"),
    ],
)
def test_the_generator_judges_a_json_answer(load: Path, tmp_path: Path, answer: bytes, verdict: str) -> None:
    told = answered(load, answer, tmp_path, "-k", "total_tokens")
    assert told[verdict] == told["sent"] == 1, told


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        pytest.param(stream(b"{}", b"{}", b"[DONE]"), "good", id="good"),
        pytest.param(stream(b"{}", b"[DONE]"), "bad_content", id="an event is missing"),
        pytest.param(stream(b"{}", b"{}", b"{}"), "bad_content", id="without DONE"),
        pytest.param(stream(b"{}", b"[DONE]", b"{}"), "bad_content", id="DONE is not the last"),
        pytest.param(stream(b"{}", b"{}", b"[DONE]", too_long=1), "bad_framing", id="chunk sizes are wrong"),
        pytest.param(stream(b"{}", b"{}", b"[DONE]", end=b""), "lost", id="without the last chunk"),
        pytest.param(stream(b"{}", b"{}", b"[DONE]") + b"x", "bad_framing", id="bytes behind the end"),
    ],
)
def test_the_generator_judges_a_stream(load: Path, tmp_path: Path, answer: bytes, verdict: str) -> None:
    told = answered(load, answer, tmp_path, "-e", "3")
    assert told[verdict] == told["sent"] == 1, told


@pytest.mark.parametrize(
    ("last", "verdict"), [(b'{"type":"message_stop"}', "good"), (b'{"type":"ping"}', "bad_content")]
)
def test_the_generator_can_be_told_another_end_of_a_stream(
    load: Path, tmp_path: Path, last: bytes, verdict: str
) -> None:
    told = answered(load, stream(b"{}", last), tmp_path, "-e", "2", "-z", 'data: {"type":"m')
    assert told[verdict] == told["sent"] == 1, told


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("prepared")
    prepared = [option for each in PREPARED for option in each.write(folder)]
    child = subprocess.Popen([str(compiled("upstream")), "-p", "0", *prepared], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def post(port: int, path: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()
    finally:
        connection.close()


def test_the_mock_streams_103_events_paced_by_the_marker_in_the_body(mock: int, tmp_path: Path) -> None:
    body = Bodies(tmp_path).get("mock-paced2", stream=True).read_bytes()
    begun = time.monotonic()
    lines = [line for line in post(mock, "/v1/chat/completions", body).split(b"\n") if line.startswith(b"data:")]
    assert len(lines) == 103
    assert lines[-1] == b"data: [DONE]"
    assert time.monotonic() - begun >= 0.2, "100 pauses of 2 ms"


def test_the_mock_finds_its_markers_at_both_ends_of_a_large_body(mock: int, tmp_path: Path) -> None:
    filler = b'"messages": "' + b"x" * 300_000 + b'"'
    for body in (b'{"stream": true, %s}' % filler, b'{%s, "stream": true}' % filler):
        assert b"[DONE]" in post(mock, "/v1/chat/completions", body)
    assert b"total_tokens" in post(mock, "/v1/chat/completions", b"{%s}" % filler)


def test_the_mock_speaks_anthropic_on_the_path_of_messages(mock: int) -> None:
    assert json.loads(post(mock, "/v1/messages", b"{}"))["usage"]["output_tokens"] == 96
    assert b"message_stop" in post(mock, "/v1/messages", b'{"stream": true}')


@pytest.mark.parametrize("prepared", PREPARED, ids=lambda each: each.dialect)
def test_the_mock_speaks_every_dialect_that_it_is_given(mock: int, prepared: Prepared) -> None:
    """Read by the dialect itself: the same words and the same counts in each."""
    upstream = registry.upstreams({})[prepared.dialect]
    ways = [(prepared.whole_at, "application/json", PROSE, WHOLE)]
    ways.append((prepared.streamed_at, prepared.kind, "".join(TEXTS), STREAMED))
    for place, (mark, kind, text, made) in enumerate(ways):
        mark = mark.strip()
        body = post(
            mock, f"/x{mark}" if mark.startswith("/") else f"/x/m{mark}", b'{"stream": %s}' % (b"false", b"true")[place]
        )
        reader = upstream.reader(HttpHead(200, {"content-type": kind}), Mint(1, "x"))
        events = plainest([*reader.feed(body), *reader.end()])
        assert "".join(event.text or "" for event in events if isinstance(event, Delta)) == text
        assert [event.reason for event in events if isinstance(event, Finish)] == ["stop"]
        usage = [event.usage for event in events if isinstance(event, Counted)][-1]
        assert (usage.prompt, usage.completion) == (212, made)


def test_a_figure_between_stretch_and_aim_is_told_apart_from_a_miss() -> None:
    cost, rate = AIMS[0], AIMS[1]
    assert [cost.verdict(value) for value in (2.8, 2.81, 3.5, 3.51)] == ["stretch", "aim", "aim", "MISS"]
    assert [rate.verdict(value) for value in (0.35, 0.34, 0.27, 0.26)] == ["stretch", "aim", "aim", "MISS"]
