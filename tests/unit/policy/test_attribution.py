"""Which app, origin and agent a request names. Source: generation record, sections 2.1 and 5."""

from __future__ import annotations

import pytest

from routebook.policy.attribution import Attribution, attribution


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"origin": "https://app.example"}, "https://app.example/"),
        ({"origin": "https://app.example/"}, "https://app.example/"),
        ({"origin": "null", "http-referer": "https://app.example/chat?x=1"}, "https://app.example/"),
        ({"http-referer": "https://App.Example:8443/chat"}, "https://app.example:8443/"),
        ({"http-referer": "https://user:secret@app.example/"}, "https://app.example/"),
        ({"http-referer": "http://[::1]:3000/x"}, "http://[::1]:3000/"),
        ({"referer": "https://app.example/page"}, "https://app.example/"),
        ({"http-referer": "an app"}, ""),
        ({"http-referer": "http://[::1/"}, ""),
        ({"http-referer": "http://host:port/"}, ""),
        ({"http-referer": "http://host:99999/"}, ""),
        ({}, ""),
    ],
)
def test_the_origin_is_the_header_else_the_site_of_the_referer(headers: dict[str, str], origin: str) -> None:
    assert attribution(headers).origin == origin


@pytest.mark.parametrize(
    ("referer", "title", "url"),
    [
        ("https://App.Example/Chat/", None, "https://app.example/Chat"),
        ("https://app.example", None, "https://app.example"),
        ("https://app.example:8443/chat?x=1#y", None, "https://app.example:8443/chat"),
        ("https://user:secret@app.example/", None, "https://app.example"),
        ("http://localhost:3000", None, None),
        ("http://localhost:3000", "My app", "http://localhost:3000"),
        ("http://[::1]:3000/", None, None),
        ("http://[::1]:3000/", "My app", "http://[::1]:3000"),
        ("app://desktop/window", None, None),
        ("ftp://app.example/", None, None),
        ("http://[::1/", "My app", None),
        ("", "My app", None),
        (None, "My app", None),
    ],
)
def test_an_app_is_known_by_its_site_and_path(referer: str | None, title: str | None, url: str | None) -> None:
    headers = {name: value for name, value in (("http-referer", referer), ("x-title", title)) if value is not None}
    assert attribution(headers).app_url == url


def test_the_documented_headers_win() -> None:
    found = attribution(
        {
            "http-referer": "https://one.example/",
            "referer": "https://two.example/",
            "x-openrouter-title": "One",
            "x-title": "Two",
            "user-agent": "Agent/1",
        }
    )
    assert found == Attribution("https://one.example/", "https://one.example/", "Agent/1", "https://one.example", "One")


def test_without_headers_nothing_is_claimed() -> None:
    assert attribution({}) == Attribution()
