"""The rules of the guarded fetch, as tables: spellings that are refused, addresses that are not public."""

from __future__ import annotations

import ipaddress

import pytest

from routebook.upstream.guard import Forbidden, check_redirect, check_url, is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "198.17.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_any_other_address_is_not(address: str) -> None:
    assert not is_public(address)


def test_nothing_is_public_that_the_standard_library_calls_private() -> None:
    """A second opinion over a grid of addresses; ours may be stricter, never laxer."""
    for first in range(256):
        for second in (0, 1, 15, 16, 18, 31, 63, 64, 88, 127, 128, 168, 254, 255):
            for rest in ("0.1", "2.1", "99.1", "100.1", "113.1"):
                address = f"{first}.{second}.{rest}"
                assert not (is_public(address) and ipaddress.ip_address(address).is_private), address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://example.com/x",
        "gopher://example.com/",
        "data:text/plain,x",
        "unix:/run/x",
        "javascript:alert(1)",
        "//example.com/x",
        "http:example.com",
        "http:///x",
        "http://",
        "http://@example.com/",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://exam\tple.com/",
        "\nhttp://example.com/",
        " http://example.com/",
        "http://example.com/\0",
        "http://example.com\u00a0/",
        "http://exa%6dple.com/",
        "http://127.0.0.1%2f/",
        "http://example.com:/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:80a/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0x7F.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.01/",
        "http://0/",
        "http://1/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://127.0.0.0x1/",
        "http://example.0x/",
        "http://[::1/",
        "http://::1/",
        "http://[::g]/",
        "http://[127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.x]/",
        "http://[::1]x/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://x.localhost/",
        "http://printer.local/",
        "http://metadata.google.internal/",
        "http://router.home.arpa/",
        "http://example..com/",
        "http://.example.com/",
        "http://example.com../",
        "http://-example.com/",
        "http://exa*mple.com/",
        "http://exa<mple.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + ".".join(["abcdefg"] * 40) + "/",
        "http://example.com/" + "a" * 9000,
        "http://\u2488\u2488/",
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Forbidden) as caught:
        check_url(url)
    assert "password" not in str(caught.value) or "must not have a user name or password" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "rebuilt"),
    [
        ("http://example.com", "example.com", 80, "http://example.com:80/"),
        ("HTTPS://Example.COM/A?b=c#d", "example.com", 443, "https://example.com:443/A?b=c"),
        ("https://example.com./x", "example.com", 443, "https://example.com:443/x"),
        ("https://example.com:8443/x", "example.com", 8443, "https://example.com:8443/x"),
        (
            "https://b\u00fccher.example/\u00fc?q=\u20ac",
            "xn--bcher-kva.example",
            443,
            "https://xn--bcher-kva.example:443/%C3%BC?q=%E2%82%AC",
        ),
        ("https://example.com/a%20b%2Fc", "example.com", 443, "https://example.com:443/a%20b%2Fc"),
        ("http://127.0.0.1#@example.com/", "127.0.0.1", 80, "http://127.0.0.1:80/"),
        ("http://8.8.8.8/x", "8.8.8.8", 80, "http://8.8.8.8:80/x"),
        ("http://127.0.0.1/x", "127.0.0.1", 80, "http://127.0.0.1:80/x"),
        ("http://\uff11\uff12\uff17.0.0.1/x", "127.0.0.1", 80, "http://127.0.0.1:80/x"),
        ("http://127\u30020\u30020\u30021/", "127.0.0.1", 80, "http://127.0.0.1:80/"),
        ("http://[2606:4700:0::1111]/x", "2606:4700::1111", 80, "http://[2606:4700::1111]:80/x"),
        ("http://[::FFFF:127.0.0.1]/x", "::ffff:7f00:1", 80, "http://[::ffff:7f00:1]:80/x"),
        ("https://a_b.example/x", "a_b.example", 443, "https://a_b.example:443/x"),
        ("https://s3.example/x?sig=a%2Bb&t='(x)'", "s3.example", 443, "https://s3.example:443/x?sig=a%2Bb&t='(x)'"),
    ],
)
def test_a_good_url_is_rebuilt_in_one_spelling(url: str, host: str, port: int, rebuilt: str) -> None:
    place = check_url(url)
    assert (place.host, place.port, place.url) == (host, port, rebuilt)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/y", "https://example.com:443/y"),
        ("y", "https://example.com:443/a/y"),
        ("https://example.com/z", "https://example.com:443/z"),
        ("https://EXAMPLE.com./z", "https://example.com:443/z"),
        ("?q=1", "https://example.com:443/a/x?q=1"),
    ],
)
def test_a_redirect_within_the_host_is_followed(location: str, url: str) -> None:
    assert check_redirect(check_url("https://example.com/a/x"), location).url == url


@pytest.mark.parametrize(
    "location",
    [
        "",
        "https://other.example/",
        "//other.example/",
        "https://www.example.com/",
        "http://example.com/",
        "https://example.com@127.0.0.1/",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "/\\127.0.0.1",
        "/\tx",
        "https://[::1/",
    ],
)
def test_a_redirect_elsewhere_is_refused(location: str) -> None:
    with pytest.raises(Forbidden):
        check_redirect(check_url("https://example.com/a/x"), location)
