"""Signature Version 4 against the signatures that AWS publishes, and against the algorithm written out plainly."""

from __future__ import annotations

import hashlib
import hmac
from calendar import timegm

import pytest

from routebook.wire.http import HttpRequest
from routebook.wire.sigv4 import AwsCredential, Signer, credential, region_of

AT = timegm((2015, 8, 30, 12, 36, 0))
EXAMPLE = AwsCredential("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.amazon.nova-micro-v1%3A0/converse"


def signed(request: HttpRequest, service: str = "service", who: AwsCredential = EXAMPLE) -> dict[str, str]:
    return dict(Signer(who, "us-east-1", service)(request, AT).headers)


@pytest.mark.parametrize(
    ("method", "target", "signature"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_the_published_suite_gives_the_published_signatures(method: str, target: str, signature: str) -> None:
    told = signed(HttpRequest(method, f"https://example.amazonaws.com{target}"))["authorization"]
    assert told == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


def test_the_documented_example_of_a_signed_header_gives_its_signature() -> None:
    request = HttpRequest(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),),
    )
    told = signed(request, "iam")["authorization"]
    assert "SignedHeaders=content-type;host;x-amz-date, " in told
    assert told.endswith("Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")


def plainly(body: bytes, token: str) -> str:
    """The signature of a POST to BEDROCK, step by step as the guide has them."""
    canonical = (
        "POST\n/model/us.amazon.nova-micro-v1%253A0/converse\n\n"
        "content-type:application/json\nhost:bedrock-runtime.us-east-1.amazonaws.com\n"
        f"x-amz-date:20150830T123600Z\nx-amz-security-token:{token}\n\n"
        f"content-type;host;x-amz-date;x-amz-security-token\n{hashlib.sha256(body).hexdigest()}"
    )
    text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/bedrock/aws4_request\n"
    text += hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + b"secret"
    for part in (b"20150830", b"us-east-1", b"bedrock", b"aws4_request"):
        key = hmac.new(key, part, hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def test_a_path_is_encoded_once_more_and_a_session_token_is_signed() -> None:
    body = b'{"messages":[]}'
    request = HttpRequest("POST", BEDROCK, (("content-type", "application/json"), ("accept", "*/*")), body)
    found = signed(request, "bedrock", AwsCredential("AKID", "secret", "token+/="))
    assert found["authorization"].endswith(f"Signature={plainly(body, 'token+/=')}")
    assert found["x-amz-security-token"] == "token+/="
    assert found["x-amz-date"] == "20150830T123600Z"
    assert found["accept"] == "*/*"


def test_a_large_body_is_signed_as_it_is_sent() -> None:
    whole = HttpRequest("POST", BEDROCK, (), b'{"a":"0123456789"}')
    parted = HttpRequest("POST", BEDROCK, (), '{"a":"01\ufdd00\ufdd0"}'.encode(), ((memoryview(b"23456789"),),))
    assert signed(parted)["authorization"] == signed(whole)["authorization"]


def test_signing_again_replaces_the_signature() -> None:
    signer = Signer(EXAMPLE, "us-east-1", "bedrock")
    request = HttpRequest("POST", BEDROCK, (), b"{}", (), signer)
    once = request.sealed(AT)
    assert once.seal is None
    assert once.sealed(AT + 60) is once
    assert signer(once, AT) == once


def test_a_port_that_is_not_the_schemes_own_is_part_of_the_host() -> None:
    given = {url: signed(HttpRequest("POST", url))["authorization"] for url in ("http://h:80/", "http://h/")}
    assert len(set(given.values())) == 1
    assert signed(HttpRequest("POST", "http://h:81/"))["authorization"] not in given.values()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AKID:secret", AwsCredential("AKID", "secret")),
        ("AKID:secret:token", AwsCredential("AKID", "secret", "token")),
        ("ABSKQmVkcm9jaw==", None),
        ("AKID:", None),
        ("a:b:c:d", None),
    ],
)
def test_a_key_with_a_colon_is_a_pair_and_anything_else_a_bearer_token(text: str, expected: object) -> None:
    assert credential(text) == expected


def test_no_secret_is_shown() -> None:
    signer = Signer(AwsCredential("AKID", "SECRET", "TOKEN"), "us-east-1", "bedrock")
    request = HttpRequest("POST", BEDROCK, (), b"{}", (), signer)
    assert "SECRET" not in repr(signer) + repr(request)
    assert "TOKEN" not in repr(signer) + repr(request)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.eu-west-1.amazonaws.com", "eu-west-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a1b.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("127.0.0.1", None),
        ("gateway.example", None),
    ],
)
def test_the_region_is_read_from_the_host(host: str, region: str | None) -> None:
    assert region_of(host) == region
