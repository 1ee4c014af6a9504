"""Bodies that are no JSON, or odd JSON: refused with 400 or taken as RFC 8259 has it, never a 500, on both edges.

A body that is JSON gets through to the key check and the catalogue, whose own refusals follow; only syntax is at stake.
"""

from __future__ import annotations

import pytest

from tests.acceptance.gateway import ADMIN_KEY, RunningGateway
from tests.edge.conftest import connect
from tests.edge.test_protocol import chat

GOOD = b'{"model":"scripted/plain","messages":[{"role":"user","content":%b}]}'

NO_JSON = {
    "nothing": b"",
    "a blank": b" ",
    "a BOM alone": b"\xef\xbb\xbf",
    "a BOM before an object": b"\xef\xbb\xbf" + GOOD % b'"a"',
    "UTF-16": (GOOD % b'"a"').decode().encode("utf-16"),
    "an open object": b'{"model":',
    "an open string": b'{"model":"a',
    "an open list": b'{"messages":[',
    "two values": GOOD % b'"a"' + b"{}",
    "a trailing comma": b'{"model":"scripted/plain",}',
    "a trailing comma in a list": b'{"messages":[1,]}',
    "no quotes": b"{model:1}",
    "single quotes": b"{'model':1}",
    "a comment": b'{"model":"a"/*b*/}',
    "NaN": b'{"temperature":NaN}',
    "Infinity": b'{"temperature":-Infinity}',
    "a leading zero": b'{"temperature":01}',
    "a bare point": b'{"temperature":1.}',
    "a plus sign": b'{"temperature":+1}',
    "hexadecimal": b'{"temperature":0x1}',
    "a raw line feed in a string": b'{"model":"a\nb"}',
    "NUL in a string": b'{"model":"a\0b"}',
    "NUL behind the object": GOOD % b'"a"' + b"\0",
    "an unknown escape": b'{"model":"\\a"}',
    "half an escape": b'{"model":"\\u00"}',
    "invalid UTF-8": GOOD % b'"\xff\xfe"',
    "an overlong form": GOOD % b'"\xc0\xaf"',
    "a surrogate in UTF-8": GOOD % b'"\xed\xa0\x80"',
    "a cut character": GOOD % b'"\xe2\x82"',
    "a list": b"[]",
    "a string": b'"model"',
    "a number": b"1",
    "null": b"null",
    "a form": b"model=scripted%2Fplain",
    "lists without end": b"[" * 100_000,
    "objects without end": b'{"a":' * 30_000,
    "deep lists": b'{"model":"scripted/plain","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep lists in an unknown member": GOOD[:-1].replace(b"%b", b'"a"')
    + b',"x":'
    + b"[" * 90_000
    + b"]" * 90_000
    + b"}",
    "a huge temperature": GOOD[:-1].replace(b"%b", b'"a"') + b',"temperature":1e999}',
    "a huge count": GOOD[:-1].replace(b"%b", b'"a"') + b',"max_tokens":' + b"9" * 5000 + b"}",
    "a fraction of a token": GOOD[:-1].replace(b"%b", b'"a"') + b',"max_tokens":1.5}',
}
JSON = {
    "blanks all around": b" \r\n\t" + GOOD % b'"a"' + b" \r\n\t",
    "escapes": GOOD % b'"\\u0000\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"',
    "a pair of surrogates": GOOD % b'"\\ud83d\\ude00"',
    "characters of four bytes": GOOD % '"😀"'.encode(),
    "noncharacters": GOOD % '"\ufffe\uffff"'.encode(),
    "a member twice": b'{"model":"nobody/nothing",' + (GOOD % b'"a"')[1:],
    "an empty name": b'{"":1,' + (GOOD % b'"a"')[1:],
    "a number with an exponent": GOOD[:-1].replace(b"%b", b'"a"') + b',"temperature":10E-1}',
    "minus zero": GOOD[:-1].replace(b"%b", b'"a"') + b',"temperature":-0}',
}
EITHER = {
    "a huge number in an unknown member": GOOD[:-1].replace(b"%b", b'"a"') + b',"x":' + b"9" * 5000 + b"}",
    "a lone high surrogate": GOOD % b'"\\ud83d"',
    "a lone low surrogate": GOOD % b'"\\ude00"',
    "surrogates the wrong way round": GOOD % b'"\\ude00\\ud83d"',
}


@pytest.mark.parametrize("name", NO_JSON)
def test_a_body_that_is_no_request_is_refused_with_400(gateway: RunningGateway, key: str, name: str) -> None:
    with connect(gateway) as wire:
        for _ in range(2):  # the connection goes on: the framing was sound
            wire.send(chat(key, NO_JSON[name]))
            got = wire.answer()
            assert got.status == 400
            assert got.json()["error"]["metadata"]["error_type"] == "invalid_request"


@pytest.mark.parametrize("name", JSON)
def test_odd_json_is_taken_as_the_rfc_has_it(gateway: RunningGateway, key: str, name: str) -> None:
    with connect(gateway) as wire:
        wire.send(chat(key, JSON[name]))
        assert wire.answer().status == 200


@pytest.mark.parametrize("name", EITHER)
def test_what_the_rfc_leaves_open_is_taken_or_refused_but_no_fault_of_ours(
    gateway: RunningGateway, key: str, name: str
) -> None:
    with connect(gateway) as wire:
        wire.send(chat(key, EITHER[name]))
        assert wire.answer().status in (200, 400)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 50_000, b"\xff", b'{"name":"\\ud83d"}', b"null", b'{"name":1}'])
def test_the_management_paths_refuse_such_bodies_as_well(gateway: RunningGateway, body: bytes) -> None:
    with connect(gateway) as wire:
        wire.send(chat(ADMIN_KEY, body, "/api/v1/keys"))
        assert wire.answer().status == 400
