"""Proxies as the environment names them."""

from __future__ import annotations

import base64

import pytest

from routebook.upstream.proxy import Proxies, Proxy, proxies_from_environment

BOTH = {"HTTP_PROXY": "http://p.test:3128", "HTTPS_PROXY": "http://q.test"}


def test_an_empty_environment_has_no_proxy() -> None:
    assert proxies_from_environment({}) == Proxies()


def test_each_scheme_has_its_own_proxy() -> None:
    proxies = proxies_from_environment(BOTH)
    assert proxies.choose("http", "api.test", 80) == Proxy("p.test", 3128)
    assert proxies.choose("https", "api.test", 443) == Proxy("q.test", 80)


def test_lower_case_wins_and_an_empty_value_switches_off() -> None:
    proxies = proxies_from_environment({**BOTH, "http_proxy": "low.test:1", "https_proxy": ""})
    assert proxies.http == Proxy("low.test", 1)
    assert proxies.https is None


def test_a_credential_is_decoded_and_hidden() -> None:
    proxies = proxies_from_environment({"https_proxy": "http://us%20er:pa%3Ass@p.test:1"})
    assert proxies.https is not None
    assert proxies.https.authorization == "Basic " + base64.b64encode(b"us er:pa:ss").decode()
    assert "Basic" not in repr(proxies)


@pytest.mark.parametrize(
    "value", ["socks5://hidden@p.test:1", "https://hidden:x@p.test:1", "http://", "http://hidden@p.test:port"]
)
def test_an_unusable_value_is_an_error_that_names_the_variable_only(value: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY") as caught:
        proxies_from_environment({"HTTPS_PROXY": value})
    assert "hidden" not in str(caught.value)


def test_under_cgi_the_upper_case_variable_is_a_request_header_and_ignored() -> None:
    assert proxies_from_environment({**BOTH, "REQUEST_METHOD": "GET"}).http is None


@pytest.mark.parametrize(
    ("bypass", "host", "port", "direct"),
    [
        ("*", "api.test", 443, True),
        ("api.test", "api.test", 443, True),
        ("test", "api.test", 443, True),
        (".test", "api.test", 443, True),
        ("*.test", "api.test", 443, True),
        ("a.test, API.test", "api.test", 443, True),
        ("a.test api.test", "api.test", 443, True),
        ("pi.test", "api.test", 443, False),
        ("api.test.x", "api.test", 443, False),
        ("api.test:443", "api.test", 443, True),
        ("api.test:8443", "api.test", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("10.1.2.3:81", "10.1.2.3", 80, False),
        ("[fd00::1]", "fd00::1", 80, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("[fd00::1]:80", "fd00::1", 80, True),
        ("", "localhost", 80, True),
        ("", "x.localhost", 80, True),
        ("", "127.0.0.9", 80, True),
        ("", "::1", 80, True),
        ("", "10.0.0.1", 80, False),
        (".", "api.test", 80, False),
    ],
)
def test_no_proxy_and_loopback_are_reached_directly(bypass: str, host: str, port: int, direct: bool) -> None:
    proxies = proxies_from_environment({**BOTH, "NO_PROXY": bypass})
    assert (proxies.choose("https", host, port) is None) is direct
