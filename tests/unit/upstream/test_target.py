"""URLs and request heads as values."""

from __future__ import annotations

import pytest

from routebook.upstream.faults import Refused
from routebook.upstream.proxy import Proxies, Proxy
from routebook.upstream.target import Targets, parse_target, render_head
from routebook.wire.bulk import stand_in
from routebook.wire.http import HttpRequest

URL = "https://api.test/x"


@pytest.mark.parametrize(
    ("url", "origin", "path", "authority"),
    [
        ("https://api.test/v1/chat", ("https", "api.test", 443), "/v1/chat", "api.test"),
        ("https://api.test:443", ("https", "api.test", 443), "/", "api.test"),
        ("http://API.test:8000/v1?x=1#f", ("http", "api.test", 8000), "/v1?x=1", "api.test:8000"),
        ("http://[::1]:8000/", ("http", "::1", 8000), "/", "[::1]:8000"),
        ("https://b\u00fccher.test/", ("https", "xn--bcher-kva.test", 443), "/", "xn--bcher-kva.test"),
        ("https://api.test/models/a:b%2Fc", ("https", "api.test", 443), "/models/a:b%2Fc", "api.test"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: tuple[str, str, int], path: str, authority: str) -> None:
    target = parse_target(url)
    assert (target.origin, target.path, target.authority) == (origin, path, authority)


@pytest.mark.parametrize(
    "url", ["https://api.test/a b", "https://api.test/\u00fc", "https://api.test/\x7f", "https://a b/"]
)
def test_what_must_be_percent_encoded_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        parse_target(url)


def test_the_memory_of_targets_is_bounded() -> None:
    targets = Targets()
    for number in range(5000):
        targets.get(f"https://api.test/{number}")
    assert len(targets.known) <= 1024


def test_the_head_leaves_alone_what_the_request_says() -> None:
    headers = (("host", "other.test"), ("user-agent", "mine"), ("Accept-Encoding", "gzip"), ("content-length", "2"))
    assert render_head(HttpRequest("POST", URL, headers, b"{}"), parse_target(URL)) == (
        b"POST /x HTTP/1.1\r\nhost: other.test\r\nuser-agent: mine\r\n"
        b"Accept-Encoding: gzip\r\ncontent-length: 2\r\n\r\n"
    )


def test_a_get_without_a_body_has_no_content_length_and_a_post_has_one() -> None:
    target = parse_target("https://api.test/x")
    assert b"Content-Length" not in render_head(HttpRequest("GET", "https://api.test/x"), target)
    assert b"\r\nContent-Length: 0\r\n" in render_head(HttpRequest("POST", "https://api.test/x"), target)


@pytest.mark.parametrize("method", ["", "GET /", "GE\nT", "G\u00cbT"])
def test_a_method_that_is_not_a_token_is_refused(method: str) -> None:
    with pytest.raises(Refused):
        render_head(HttpRequest(method, "https://api.test/x"), parse_target("https://api.test/x"))


def test_two_hosts_are_refused() -> None:
    request = HttpRequest("GET", "https://api.test/x", (("Host", "a"), ("host", "b")))
    with pytest.raises(Refused):
        render_head(request, parse_target(request.url))


def test_a_tab_and_latin_1_in_a_value_are_carried() -> None:
    request = HttpRequest("GET", "https://api.test/x", (("X-A", "a\tb\u00fc"),))
    assert b"X-A: a\tb\xfc\r\n" in render_head(request, parse_target(request.url))


AUTHORIZED = (("authorization", "Bearer sk-1"), ("content-type", "application/json"))


def test_a_head_that_is_remembered_is_the_head_that_would_be_rendered() -> None:
    target = parse_target(URL)
    for body in (b"{}", b"", b"x" * 1000, b"{}"):
        for headers in (AUTHORIZED, (), (("Authorization", "Bearer sk-2"),)):
            request = HttpRequest("POST", URL, headers, body)
            assert target.head(request) == render_head(request, target)


def test_a_large_body_in_pieces_has_the_length_of_all_of_them() -> None:
    target = parse_target(URL)
    request = HttpRequest("POST", URL, AUTHORIZED, b'{"data":"' + stand_in(0) + b'"}', ((memoryview(b"x" * 500),),))
    for _ in range(2):
        assert target.head(request).endswith(b"\r\nContent-Length: %d\r\n\r\n" % (len(b'{"data":""}') + 500))


def test_a_length_that_the_request_brings_is_checked_every_time() -> None:
    target = parse_target(URL)
    names = ("host", "user-agent", "accept-encoding", "Content-Length")
    headers = tuple(zip(names, ("api.test", "mine", "identity", "2"), strict=True))
    assert target.head(HttpRequest("POST", URL, headers, b"{}")).endswith(b"\r\nContent-Length: 2\r\n\r\n")
    with pytest.raises(Refused, match="Content-Length"):
        target.head(HttpRequest("POST", URL, headers, b"{ }"))


def test_other_methods_do_not_get_the_head_of_a_post() -> None:
    target = parse_target(URL)
    target.head(HttpRequest("POST", URL, AUTHORIZED, b"{}"))
    assert target.head(HttpRequest("GET", URL, AUTHORIZED)).startswith(b"GET /x HTTP/1.1\r\n")


def test_a_bad_header_is_refused_every_time() -> None:
    target = parse_target(URL)
    for _ in range(2):
        with pytest.raises(Refused):
            target.head(HttpRequest("POST", URL, (("x-a", "1\r\nx-b: 2"),), b"{}"))


def test_credentials_in_remembered_heads_are_bounded_and_can_be_forgotten() -> None:
    targets = Targets()
    target = targets.get(URL)
    for number in range(500):
        request = HttpRequest("POST", URL, (("authorization", f"Bearer sk-{number}"),), b"{}")
        assert b"sk-%d\r\n" % number in target.head(request)
    assert 0 < len(target._starts) <= 64
    targets.forget(("https", "other.test", 443))
    assert target._starts
    targets.forget(target.origin)
    assert not target._starts


def test_a_plain_proxy_gets_the_absolute_form_and_its_credential() -> None:
    targets = Targets(Proxies(http=Proxy("proxy.test", 3128, "Basic abc"), bypass=("near.test",)))
    request = HttpRequest("POST", "http://api.test/x", AUTHORIZED, b"{}")
    for _ in range(2):
        head = targets.get(request.url).head(request)
        assert head.startswith(b"POST http://api.test/x HTTP/1.1\r\n")
        assert head.count(b"\r\nProxy-Authorization: Basic abc\r\n") == 1
    near = HttpRequest("POST", "http://near.test/x", AUTHORIZED, b"{}")
    assert targets.get(near.url).head(near).startswith(b"POST /x HTTP/1.1\r\n")
    assert b"Proxy" not in targets.get("https://api.test/x").head(HttpRequest("POST", "https://api.test/x"))
