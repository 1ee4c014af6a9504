"""Large bodies in pieces: whatever the split, nothing is lost, and only base64 of media is stowed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from routebook.wire.bulk import MARK, LargeBody, Stowed, restored

BASE64 = "iVBORw0KGgoAAAANSUhEUgAAB4AAAAQ4CAIAAABnsVYUAAEAAElEQVR4nOy9d7gkV3nn/zmVOt+/" * 4_000
PICTURE = "data:image/png;base64," + BASE64
SPLITS = (1_400, 16_384, 65_536, 100_003, 256_000, 10**9)


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def stowed(body: bytes, size: int = 100_003) -> Stowed | None:
    return LargeBody(cut(body, size)).stow()


def body_with(*urls: str, **more: object) -> bytes:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}], **more}).encode()


@pytest.mark.parametrize("size", SPLITS)
def test_a_body_is_whole_again_whatever_its_pieces_were(size: int) -> None:
    body = body_with(PICTURE, "https://a.test/b.png", PICTURE, user='say "hi" ' * 30_000)
    large = LargeBody(cut(body, size))
    assert len(large) == len(body)
    found = large.stow()
    assert found is not None
    assert b"".join(restored(found.text, found.bulk)) == body
    assert large.whole() == body


@pytest.mark.parametrize("size", SPLITS)
def test_stowed_text_is_short_and_its_json_says_the_same(size: int) -> None:
    found = stowed(body_with(PICTURE, PICTURE), size)
    assert found is not None
    assert len(found.text) < 300_000 if size < 100_000 else len(found.text) < 100_000
    urls = [part["image_url"]["url"] for part in json.loads(found.text)["messages"][0]["content"]]
    for number, url in enumerate(urls):
        head, mark, tail = url.split(MARK)
        assert mark == str(number)
        assert head + b"".join(found.bulk[number]).decode() + tail == PICTURE


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"prompt": "word " * 100_000}),
        json.dumps({"prompt": "word" * 100_000}),
        json.dumps({"prompt": BASE64}),
        json.dumps({"prompt": 'say "hi" ' * 60_000}),
        json.dumps({"numbers": list(range(100_000))}),
        json.dumps({"inner": json.dumps({"url": PICTURE})}),
        json.dumps({"url": "data:text/plain;base64," + BASE64}),
        json.dumps({"url": PICTURE.replace("/", "\\/")}),
        json.dumps({"url": PICTURE + "\n"}),
        json.dumps({"url": PICTURE.replace("Q", "\u00e9")}, ensure_ascii=False),
        "[" * 400_000,
        '"' * 400_000,
        "\\" * 400_000,
    ],
    ids=lambda text: text[:24],
)
def test_what_is_not_base64_of_media_stays_where_it_is(body: str) -> None:
    large = LargeBody(cut(body.encode(), 100_003))
    found = large.stow()
    assert found is None or b"".join(restored(found.text, found.bulk)) == body.encode()
    assert large.whole() == body.encode()
    if found is not None:  # a stretch without what forbids it: the rest of the text has stayed
        assert body.startswith('{"url": "data:image')


def test_base64_under_the_name_data_is_stowed() -> None:
    for written in (f'{{"data":"{BASE64}","format":"wav"}}', f'{{"format": "wav", "data" : "{BASE64}"}}'):
        found = stowed(written.encode())
        assert found is not None
        assert len(found.text) < 70_000
        assert b"".join(restored(found.text, found.bulk)) == written.encode()


def test_a_control_character_in_base64_is_left_to_the_decoder() -> None:
    for control in ("\x00", "\x1f", "\n"):
        body = body_with(PICTURE).replace(b"Gkqq", b"").replace(b"d7gk", control.encode())
        assert stowed(body) is None


@pytest.mark.parametrize("forged", ['"\ufdd00\ufdd0"', '"\\ufdd00\\uFDD0"', '"\\uFdD0"'])
def test_a_body_with_the_mark_in_it_is_not_stowed(forged: str) -> None:
    body = body_with(PICTURE)[:-1] + f',"user":{forged}}}'.encode()
    assert json.loads(body)["user"].count(MARK)
    assert stowed(body_with(PICTURE)) is not None
    assert stowed(body) is None


def test_a_place_in_the_stowed_text_is_found_in_the_body() -> None:
    body = body_with(PICTURE, PICTURE)[:-1] + b',"seed":x}'
    found = stowed(body)
    assert found is not None
    assert found.place(found.text.index(b'"seed":x')) == body.index(b'"seed":x')
    assert found.place(3) == 3
    between = b'"}}, {"type"'
    assert found.place(found.text.index(between)) == body.index(between)
