"""Large bodies with media: read without decoding them, sent on to the last byte, in every dialect."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from routebook.core.call import Losses
from routebook.core.catalog import Endpoint, Provider
from routebook.core.errors import BadRequest
from routebook.dialects import anthropic, gemini, openai_chat
from routebook.dialects.base import Upstream
from routebook.dialects.openai_chat import SURFACE
from routebook.wire.bulk import LargeBody, restored

MB = 1024 * 1024
BASE64 = "iVBORw0KGgoAAAANSUhEUgAAB4AAAAQ4CAIAAABnsVYUAAEAAElEQVR4nOy9d7gkV3nn/zmVOt+/"
UPSTREAMS: dict[str, Upstream] = {
    upstream.name: upstream for upstream in (openai_chat.UPSTREAM, anthropic.UPSTREAM, gemini.UPSTREAM)
}
URLS = {"openai_chat": "https://a.test/v1", "anthropic": "https://a.test", "gemini": "https://a.test/v1beta"}


def base64(size: int) -> str:
    return (BASE64 * (size // len(BASE64) + 1))[: size // 4 * 4]


def picture(size: int, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64(size)}"}}


def body_of(*content: dict[str, Any], **more: Any) -> bytes:
    asked = {"model": "acme/large", "messages": [{"role": "user", "content": [*content]}], **more}
    return json.dumps(asked, ensure_ascii=False).encode()


def cut(body: bytes, size: int = 256_000) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def endpoint(upstream: Upstream) -> Endpoint:
    provider = Provider("acme", "Acme", upstream.name, URLS[upstream.name])
    return Endpoint("a:b", "acme/large", provider, "large-2026-01", "acme")


def sent(upstream: Upstream, body: bytes | LargeBody) -> tuple[bytes, list[Any]]:
    """The bytes that the provider is sent, and what got lost."""
    call, losses = SURFACE.read(body, {}), Losses()
    request = upstream.build(call, endpoint(upstream), "sk-0", losses)
    return b"".join(restored(request.body, call.bulk)), losses.items


CONTENTS: dict[str, list[dict[str, Any]]] = {
    "one picture": [{"type": "text", "text": "What is it? \u2600"}, picture(MB)],
    "many pictures": [picture(60_000 + 1_000 * n, "image/jpeg") for n in range(12)],
    "sound": [
        {"type": "text", "text": "What is said?"},
        {"type": "input_audio", "input_audio": {"data": base64(MB), "format": "wav"}},
    ],
    "a document": [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64," + base64(MB)}}
    ],
    "a text file": [{"type": "file", "file": {"filename": "a", "file_data": "data:text/plain;base64," + "QUJD" * MB}}],
    "a film": [
        {"type": "text", "text": "And here?"},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + base64(MB)}},
    ],
    "a picture between long texts": [
        {"type": "text", "text": 'He said: "no".\n' * 30_000},
        picture(MB),
        {"type": "text", "text": "word" * 100_000},
    ],
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("dialect", URLS)
def test_the_provider_gets_the_same_bytes_as_if_the_body_had_been_read_whole(
    dialect: str, content: list[dict[str, Any]]
) -> None:
    body, upstream = body_of(*content), UPSTREAMS[dialect]
    assert sent(upstream, LargeBody(cut(body))) == sent(upstream, body)


def test_what_is_known_of_a_large_call_is_what_is_known_of_it_whole() -> None:
    body = body_of(*CONTENTS["many pictures"], *CONTENTS["sound"], stream=True, session_id="s", user="u")
    large, plain = SURFACE.read(LargeBody(cut(body)), {}), SURFACE.read(body, {})
    assert large.bulk
    assert not plain.bulk
    for name in ("model", "stream", "user", "session_id", "body_bytes", "media_prompt", "audio_prompt", "images"):
        assert getattr(large, name) == getattr(plain, name), name


@pytest.mark.parametrize(
    "more",
    [
        {"trace": {"url": picture(MB)["image_url"]["url"]}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"data": base64(MB)}}}]},
        {"prediction": {"type": "content", "content": picture(MB)["image_url"]["url"]}},
        {"user": picture(MB)["image_url"]["url"]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_base64_where_no_media_belongs_is_read_as_the_text_it_is(more: dict[str, Any]) -> None:
    body = body_of(picture(MB), **more)
    call = SURFACE.read(LargeBody(cut(body)), {})
    assert call.bulk == ()
    assert call == SURFACE.read(body, {})


@pytest.mark.parametrize(
    "broken",
    [
        lambda body: body[:-1] + b',"seed":x}',
        lambda body: body[:-1],
        lambda body: body.replace(b'"user"', b'"nobody"', 1),
        lambda body: body.replace(b'"type": "image_url"', b'"type": 7', 1),
        lambda body: body.replace(b"DDDD", b"DD\nD", 1),
        lambda body: body[:-1] + b',"user":"\xff"}',
        lambda body: body[:-1] + b',"user":"\x07"}',
        lambda body: body[:-1] + b',"trace":' + b"[" * 80 + b"]" * 80 + b"}",
        lambda body: body[:-1] + b',"metadata":{"a":"' + b"b" * 513 + b'"}}',
    ],
)
def test_a_large_body_is_refused_in_the_same_words(broken: Callable[[bytes], bytes]) -> None:
    body = broken(body_of({"type": "text", "text": "DDDD"}, picture(MB), picture(MB)))
    with pytest.raises(BadRequest) as whole:
        SURFACE.read(body, {})
    with pytest.raises(BadRequest) as large:
        SURFACE.read(LargeBody(cut(body)), {})
    assert large.value.message == whole.value.message


def test_20_mb_with_a_picture_take_little_more_than_20_mb_of_memory() -> None:
    body = body_of(picture(20 * MB))
    for upstream in UPSTREAMS.values():
        tracemalloc.start()
        call = SURFACE.read(LargeBody(cut(body)), {})
        request = upstream.build(call, endpoint(upstream), "sk-0", Losses())
        pieces = restored(request.body, call.bulk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(map(len, pieces)) > 20 * MB
        assert peak < 1.5 * len(body)


@pytest.mark.parametrize("pictures", [1, 100])
def test_no_step_of_a_20_mb_request_costs_what_one_copy_of_it_does(pictures: int) -> None:
    """Each step's best of several rounds, in CPU of this thread, against copying the same bytes."""
    body = body_of(*(picture(20 * MB // pictures) for _ in range(pictures)))
    copying = best(lambda: bytearray(body))
    large = LargeBody(cut(body))
    reading = best(lambda: SURFACE.read(large, {}))
    call = SURFACE.read(large, {})
    assert len(call.bulk) == pictures
    assert reading < copying
    for upstream in UPSTREAMS.values():
        target = endpoint(upstream)
        request = upstream.build(call, target, "sk-0", Losses())
        assert best(lambda: upstream.build(call, target, "sk-0", Losses())) < copying  # noqa: B023
        assert best(lambda: restored(request.body, call.bulk)) < copying  # noqa: B023


def best(step: Callable[[], object], rounds: int = 7) -> float:
    found = []
    for _ in range(rounds):
        begun = time.thread_time()
        step()
        found.append(time.thread_time() - begun)
    return min(found)
