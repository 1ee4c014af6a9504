"""The same HTTP on both edges: the cases that any client may rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import RunningGateway
from tests.edge.conftest import BODY_LIMIT, connect
from tests.edge.wire import SMALL, Got, Wire, chunked, request

CHAT = "/api/v1/chat/completions"


def ask(text: str = "hello", **more: Any) -> bytes:
    return json.dumps({"model": "scripted/plain", "messages": [{"role": "user", "content": text}], **more}).encode()


def chat(key: str, body: bytes, target: str = CHAT, **headers: str) -> bytes:
    return request("POST", target, body, Authorization=f"Bearer {key}", Content_Type="application/json", **headers)


def record(gateway: RunningGateway, key: str, id: str) -> dict[str, Any]:
    with connect(gateway) as wire:
        wire.send(request("GET", f"/api/v1/generation?id={id}", Authorization=f"Bearer {key}"))
        got = wire.answer()
    assert got.status == 200, got
    data: dict[str, Any] = got.json()["data"]
    return data


def events(got: Got) -> list[str]:
    return [line.removeprefix("data: ") for line in got.body.decode().split("\n") if line.startswith("data: ")]


def test_a_whole_answer_has_a_length_and_its_generation_id(gateway: RunningGateway, key: str) -> None:
    with connect(gateway) as wire:
        wire.send(chat(key, ask("[[completion=7]]")))
        got = wire.answer()
    assert got.status == 200
    assert int(got.headers["content-length"]) == len(got.body)
    assert got.json()["usage"]["completion_tokens"] == 7
    assert "date" in got.headers
    assert "server" not in got.headers
    assert record(gateway, key, got.headers["x-generation-id"])["native_tokens_completion"] == 7


def test_a_streamed_answer_comes_in_chunks_and_ends_with_its_mark(gateway: RunningGateway, key: str) -> None:
    with connect(gateway) as wire:
        wire.send(chat(key, ask("[[completion=9 pieces=4]]", stream=True)))
        got = wire.answer()
    assert got.status == 200
    assert got.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in got.headers
    assert got.headers["content-type"].startswith("text/event-stream")
    assert events(got)[-1] == "[DONE]"
    assert record(gateway, key, got.headers["x-generation-id"])["native_tokens_completion"] == 9


def test_a_connection_serves_one_request_after_the_other(gateway: RunningGateway, key: str) -> None:
    with connect(gateway) as wire:
        for _ in range(3):
            wire.send(chat(key, ask("[[completion=3]]")))
            assert wire.answer().json()["usage"]["completion_tokens"] == 3
            wire.send(request())
            assert wire.answer().status == 200
            wire.send(chat(key, ask("[[completion=5]]", stream=True)))
            assert events(wire.answer())[-1] == "[DONE]"


def test_a_connection_that_asks_the_same_way_again_and_again_gets_the_answer_to_each(
    gateway: RunningGateway, key: str
) -> None:
    with connect(gateway) as wire:
        for count in (2, 3, 4, 500, 5, 6):
            wire.send(chat(key, ask(f"[[completion={count}]]")))
            assert wire.answer().json()["usage"]["completion_tokens"] == count
        wire.send(chat("sk-rb-v1-" + "0" * (len(key) - 9), ask("[[completion=7]]")))
        assert wire.answer().status == 401


def test_a_refusal_that_is_final_says_so_and_no_other_answer_does(gateway: RunningGateway, key: str) -> None:
    """Clients that ask again whatever comes (Claude Code, with a wrong key) stop for this header alone."""
    with connect(gateway) as wire:
        for who, said, status, told in (
            ("sk-rb-v1-" + "0" * (len(key) - 9), "Hi.", 401, "false"),
            (key, "Hi. [[status=400]]", 400, "false"),
            (key, "Hi. [[status=429]]", 429, None),
            (key, "Hi. [[status=500]]", 503, None),
            (key, "Hi.", 200, None),
        ):
            wire.send(chat(who, ask(said)))
            answer = wire.answer()
            assert (answer.status, answer.headers.get("x-should-retry")) == (status, told)


def test_requests_sent_at_once_are_answered_in_their_order(gateway: RunningGateway, key: str) -> None:
    asked = [chat(key, ask(f"[[completion={n}]]", stream=n % 2 == 0)) for n in range(1, 7)]
    with connect(gateway) as wire:
        wire.send(b"".join([*asked, request(), *asked]))
        got = [wire.answer() for _ in range(13)]
    assert [each.status for each in got] == [200] * 13
    for each, n in zip(got[:6], range(1, 7), strict=True):
        assert (events(each)[-1] == "[DONE]") if n % 2 == 0 else each.json()["usage"]["completion_tokens"] == n


def test_more_requests_at_once_than_are_read_ahead_are_all_answered(gateway: RunningGateway) -> None:
    with connect(gateway) as wire:
        wire.send(request() * 200)
        assert [wire.answer().status for _ in range(200)] == [200] * 200


def test_a_request_may_come_byte_by_byte(gateway: RunningGateway, key: str) -> None:
    whole = chat(key, ask("[[completion=4]]"))
    with connect(gateway) as wire:
        for place in range(len(whole)):
            wire.send(whole[place : place + 1])
        assert wire.answer().json()["usage"]["completion_tokens"] == 4


def test_a_body_may_come_in_chunks(gateway: RunningGateway, key: str) -> None:
    body = ask("[[completion=4]]")
    head = request(
        "POST", CHAT, Authorization=f"Bearer {key}", Content_Type="application/json", Transfer_Encoding="chunked"
    )
    with connect(gateway) as wire:
        wire.send(head + chunked(body[:10], body[10:11], body[11:]))
        assert wire.answer().json()["usage"]["completion_tokens"] == 4
        wire.send(head + b"5;name=value\r\n" + body[:5] + b"\r\n" + chunked(body[5:])[:-2] + b"Trailer: x\r\n\r\n")
        assert wire.answer().json()["usage"]["completion_tokens"] == 4
        wire.send(request())
        assert wire.answer().status == 200


def test_who_expects_100_continue_is_told_to_go_on(gateway: RunningGateway, key: str) -> None:
    body = ask("[[completion=4]]")
    whole = chat(key, body, Expect="100-continue")
    with connect(gateway) as wire:
        wire.send(whole[: -len(body)])
        while b"100 Continue\r\n\r\n" not in wire.raw:
            assert wire.more()
        wire.send(body)
        assert wire.answer().json()["usage"]["completion_tokens"] == 4


def test_who_does_not_wait_for_100_continue_is_answered_as_well(gateway: RunningGateway, key: str) -> None:
    with connect(gateway) as wire:
        wire.send(chat(key, ask("[[completion=4]]"), Expect="100-continue") * 2)
        assert [wire.answer().json()["usage"]["completion_tokens"] for _ in range(2)] == [4, 4]


def test_head_has_the_headers_of_get_and_no_body(gateway: RunningGateway) -> None:
    with connect(gateway) as wire:
        wire.send(request("HEAD"))
        while b"\r\n\r\n" not in wire.raw:
            wire.raw += wire.socket.recv(65536)
        assert wire.raw.startswith(b"HTTP/1.1 200")
        length = len(wire.raw)
        wire.send(request())
        while b"\r\n\r\n" not in wire.raw[length:]:
            wire.raw += wire.socket.recv(65536)
    assert wire.raw[length:].startswith(b"HTTP/1.1 200"), "a body was sent"


def test_connection_close_is_obeyed_and_said(gateway: RunningGateway, key: str) -> None:
    for sent in (request(Connection="close"), chat(key, ask("[[completion=2]]"), Connection="close")):
        with connect(gateway) as wire:
            wire.send(sent)
            (got,) = wire.to_the_end()
            assert got.status == 200
            assert got.headers["connection"] == "close"


def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_of_the_connection(gateway: RunningGateway, key: str) -> None:
    body = ask("[[completion=2]]")
    head = f"POST {CHAT} HTTP/1.0\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(gateway) as wire:
        wire.send(head.encode() + body)
        (got,) = wire.to_the_end()
    assert got.status == 200
    assert got.json()["usage"]["completion_tokens"] == 2


def test_an_absolute_target_and_a_query_name_the_same_path(gateway: RunningGateway, key: str) -> None:
    for target in (
        f"http://elsewhere.test{CHAT}",
        f"{CHAT}?trace=1",
        "/v1/chat/completions",
        "/api/v1/chat%2Fcompletions",
    ):
        with connect(gateway) as wire:
            wire.send(chat(key, ask("[[completion=2]]"), target))
            assert wire.answer().json()["usage"]["completion_tokens"] == 2, target
    with connect(gateway) as wire:
        wire.send(request("GET", "http://elsewhere.test/api/v1/models?supported_parameters=tools"))
        assert wire.answer().status == 200


def test_unknown_paths_and_wrong_methods_get_the_envelope(gateway: RunningGateway) -> None:
    with connect(gateway) as wire:
        for method, target, status in (
            ("GET", "/api/v1/nothing", 404),
            ("POST", "/nothing", 404),
            ("DELETE", "/healthz", 405),
            ("GET", "/api/v1/generation", 401),
        ):
            wire.send(request(method, target))
            got = wire.answer()
            assert got.status == status
            assert got.json()["error"]["code"] == status


def test_a_body_above_the_limit_is_refused_before_it_is_read(gateway: RunningGateway, key: str) -> None:
    head = chat(key, b"", Connection="keep-alive").replace(b"Content-Length: 0", b"Content-Length: 900000000")
    with connect(gateway) as wire:
        wire.send(head + b"x" * 1000)
        got = wire.answer()
    assert got.status == 413
    assert str(BODY_LIMIT) in got.error


def test_a_body_that_grows_above_the_limit_is_refused_on_its_way(gateway: RunningGateway, key: str) -> None:
    head = request("POST", CHAT, Authorization=f"Bearer {key}", Transfer_Encoding="chunked")
    with connect(gateway) as wire:
        wire.send(head)
        for _ in range(12):
            wire.offer(b"%x\r\n%b\r\n" % (20_000, b"x" * 20_000))
        assert wire.answer().status == 413


def test_a_client_that_sends_all_of_a_refused_body_first_still_reads_the_refusal(
    gateway: RunningGateway, key: str
) -> None:
    with connect(gateway) as wire:
        wire.offer(chat(key, b"x" * (8 * BODY_LIMIT)))
        assert wire.answer().status == 413


def test_a_compressed_body_is_refused(gateway: RunningGateway, key: str) -> None:
    with connect(gateway) as wire:
        wire.send(chat(key, b"\x1f\x8b\x08", Content_Encoding="gzip"))
        assert wire.answer().status == 415


H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAAP__"}


def test_a_wish_for_another_protocol_is_ignored(gateway: RunningGateway) -> None:
    for wish in (H2C, {"Connection": "Upgrade", "Upgrade": "websocket"}):
        with connect(gateway) as wire:
            wire.send(request("GET", "/healthz", None, **wish))
            assert wire.answer().status == 200


def test_a_body_after_a_wish_for_another_protocol_is_read(native: RunningGateway, native_key: str) -> None:
    # uvicorn loses such a body: it hands the request on without it.
    body = ask("[[completion=2]]")
    sized = chat(native_key, body, CHAT, **H2C)
    parted = request(
        "POST", CHAT, None, Authorization=f"Bearer {native_key}", Transfer_Encoding="chunked", **H2C
    ) + chunked(body[:7], body[7:])
    with connect(native) as wire:
        wire.send(sized + parted + request() + sized + request("GET", "/healthz", None, **H2C) * 2 + parted)
        got = [wire.answer() for _ in range(7)]
        assert [each.status for each in got] == [200] * 7
        for place in range(len(parted)):
            wire.send(parted[place : place + 1])
        assert wire.answer().json()["usage"]["completion_tokens"] == 2
        wire.send(request())
        assert wire.answer().status == 200


PREFLIGHT = {
    "Origin": "https://page.test",
    "Access_Control_Request_Method": "POST",
    "Access_Control_Request_Headers": "authorization,content-type,x-title",
}


@pytest.mark.parametrize("target", [CHAT, "/api/v1/keys"])
def test_a_page_may_ask_beforehand(gateway: RunningGateway, target: str) -> None:
    with connect(gateway) as wire:
        wire.send(request("OPTIONS", target, None, **PREFLIGHT))
        got = wire.answer()
    assert got.status == 200
    assert got.headers["access-control-allow-origin"] == "*"
    assert "POST" in got.headers["access-control-allow-methods"]
    assert got.headers["access-control-allow-headers"] == "authorization,content-type,x-title"
    assert got.headers["access-control-max-age"] == "86400"


def test_a_page_may_read_every_answer_and_the_generation_id(gateway: RunningGateway, key: str) -> None:
    sent = (
        chat(key, ask("[[completion=2]]"), Origin="https://page.test"),
        chat(key, ask("[[completion=2]]", stream=True), Origin="https://page.test"),
        chat("no-key", ask(), Origin="https://page.test"),
        chat(key, b"{", Origin="https://page.test"),
        request("GET", "/api/v1/models", Origin="https://page.test"),
        request("GET", "/nothing", Origin="https://page.test"),
    )
    with connect(gateway) as wire:
        for each in sent:
            wire.send(each)
            got = wire.answer()
            cors = sorted((name, value) for name, value in got.lines if name.startswith("access-") or name == "vary")
            assert cors == [
                ("access-control-allow-origin", "*"),
                (
                    "access-control-expose-headers",
                    "X-Generation-Id, Retry-After, Idempotent-Replayed, X-Routebook-Translation",
                ),
                ("vary", "Origin"),
            ], each


def test_no_page_no_headers_for_pages(gateway: RunningGateway, key: str) -> None:
    with connect(gateway) as wire:
        for each in (chat(key, ask("[[completion=2]]")), request()):
            wire.send(each)
            got = wire.answer()
            assert [name for name, _ in got.lines if name.startswith("access-")] == []
            assert got.headers["vary"] == "Origin"


def test_a_client_that_leaves_closes_the_provider_and_the_record_says_so(
    gateway: RunningGateway, key: str, provider: ScriptedProvider
) -> None:
    wire = connect(gateway)
    wire.send(chat(key, ask("[[completion=30 pieces=10 hang=4]]", stream=True)))
    wire.read_until(b"data: ")
    id = wire.answers[0].headers["x-generation-id"]
    billed = len(provider.bill)
    wire.close()
    gateway.until(lambda: not gateway.gateway.app.entries and len(provider.bill) > billed)
    assert not provider.bill[billed].whole
    found = record(gateway, key, id)
    assert found["cancelled"] is True
    assert found["finish_reason"] is None


def test_a_client_that_leaves_with_requests_waiting_costs_no_more_than_the_first(
    native: RunningGateway, native_key: str, provider: ScriptedProvider
) -> None:
    # uvicorn stops reading while requests wait, so there the leaving shows with the next bytes that are written.
    before, billed = provider.requests, len(provider.bill)
    wire = connect(native)
    wire.send(chat(native_key, ask("[[completion=30 pieces=10 hang=4]]", stream=True)) + chat(native_key, ask()) * 3)
    wire.read_until(b"data: ")
    wire.close()
    native.until(lambda: not native.gateway.app.entries and len(provider.bill) > billed)
    assert provider.requests == before + 1


def test_a_slow_reader_holds_the_provider_back_and_then_gets_everything(
    gateway: RunningGateway, key: str, provider: ScriptedProvider
) -> None:
    billed = len(provider.bill)
    with Wire(gateway.port, receive_buffer=SMALL) as wire:
        wire.send(chat(key, ask("[[completion=60000 pieces=30000]]", stream=True)))
        gateway.until(lambda: any(entry._full_since_ns is not None for entry in gateway.gateway.app.entries))
        assert len(provider.bill) == billed, "the provider was read to its end"
        got = wire.answer()
        assert events(got)[-1] == "[DONE]"
        assert record(gateway, key, got.headers["x-generation-id"])["native_tokens_completion"] == 60000
