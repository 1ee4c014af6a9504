"""The same paths over TLS, on both edges, and over a UNIX socket, on the native one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from routebook.config.problems import ConfigError
from routebook.edge.listen import unix_listener
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway
from tests.edge.conftest import BODY_LIMIT, server_configuration
from tests.edge.test_protocol import ask, chat, events
from tests.edge.wire import Wire, request


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings that name a certificate for `localhost` and its key."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    for place, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=place > 0)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}


@pytest.fixture(scope="module", params=["native", "asgi"])
def secure(
    request: pytest.FixtureRequest,
    provider: ScriptedProvider,
    files: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningGateway]:
    config = server_configuration(provider, edge=request.param, **files)
    with RunningGateway(tmp_path_factory.mktemp("secure") / "home", config) as running:
        yield running


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_calls_go_over_tls(secure: RunningGateway, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    with Wire(secure.port, tls=trusting) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        wire.send(chat(ADMIN_KEY, ask("[[completion=4]]")) + request())
        assert wire.answer().json()["usage"]["completion_tokens"] == 4
        assert wire.answer().status == 200
        wire.send(chat(ADMIN_KEY, ask("[[completion=40000 pieces=5000]]", stream=True)))
        assert events(wire.answer())[-1] == "[DONE]"
    secure.until(lambda: not secure.gateway.app.entries)


def test_of_http_2_and_1_the_first_that_is_spoken_is_agreed_on(
    secure: RunningGateway, trusting: ssl.SSLContext
) -> None:
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    with Wire(secure.port, tls=trusting) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.selected_alpn_protocol() == "http/1.1"
        assert wire.socket.version() in ("TLSv1.2", "TLSv1.3")


def test_old_tls_is_refused(secure: RunningGateway, trusting: ssl.SSLContext) -> None:
    trusting.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        Wire(secure.port, tls=trusting)


def test_a_refusal_over_tls_is_readable_by_who_sends_everything_first(
    secure: RunningGateway, trusting: ssl.SSLContext
) -> None:
    with Wire(secure.port, tls=trusting) as wire:
        wire.offer(chat(ADMIN_KEY, b"x" * (4 * BODY_LIMIT)))
        assert wire.answer().status == 413


def test_plain_http_on_the_tls_port_gets_nothing(secure: RunningGateway) -> None:
    with Wire(secure.port) as wire:
        wire.offer(request())
        with contextlib.suppress(ConnectionResetError):
            assert wire.socket.recv(65536)[:4] != b"HTTP"


def test_a_client_that_leaves_over_tls_is_noticed(
    secure: RunningGateway, trusting: ssl.SSLContext, provider: ScriptedProvider
) -> None:
    billed = len(provider.bill)
    wire = Wire(secure.port, tls=trusting)
    wire.send(chat(ADMIN_KEY, ask("[[completion=30 pieces=10 hang=4]]", stream=True)))
    wire.read_until(b"data: ")
    wire.close()
    secure.until(lambda: not secure.gateway.app.entries and len(provider.bill) > billed)
    assert not provider.bill[billed].whole


@pytest.mark.parametrize("broken", ["absent", "no certificate", "another key"])
def test_a_certificate_that_cannot_be_used_is_a_configuration_error(
    provider: ScriptedProvider, files: dict[str, str], tmp_path: Path, broken: str
) -> None:
    other = dict(files)
    if broken == "absent":
        other["tls_cert"] = str(tmp_path / "nowhere.pem")
    elif broken == "no certificate":
        (tmp_path / "cert.pem").write_text("no certificate")
        other["tls_cert"] = str(tmp_path / "cert.pem")
    else:
        trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
        other["tls_key"] = str(tmp_path / "key.pem")
    with pytest.raises(ConfigError) as told, RunningGateway(tmp_path / "home", server_configuration(provider, **other)):
        pass
    assert "server.tls_cert" in str(told.value)
    assert "PRIVATE" not in str(told.value)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("u") / "socket"


def test_calls_go_over_a_unix_socket_that_only_its_owner_may_use(
    provider: ScriptedProvider, tmp_path: Path, place: Path
) -> None:
    config = server_configuration(provider, unix_socket=str(place))
    with RunningGateway(tmp_path / "home", config) as running:
        assert running.port == 0
        mode = place.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        with Wire(path=place) as wire:
            wire.send(request("GET", "/api/v1/models", Origin="https://page.test"))
            assert wire.answer().headers["access-control-allow-origin"] == "*"
            wire.send(chat(ADMIN_KEY, ask("[[completion=4]]", stream=True)))
            got = wire.answer()
            assert events(got)[-1] == "[DONE]"
            id = got.headers["x-generation-id"]
            wire.send(request("GET", f"/api/v1/generation?id={id}", Authorization=f"Bearer {ADMIN_KEY}"))
            assert wire.answer().json()["data"]["native_tokens_completion"] == 4
    assert not place.exists()


def test_the_mode_of_the_socket_is_as_configured(provider: ScriptedProvider, tmp_path: Path, place: Path) -> None:
    config = server_configuration(provider, unix_socket=str(place)).replace(
        "[server]\n", '[server]\nunix_socket_mode = "0660"\n'
    )
    with RunningGateway(tmp_path / "home", config):
        assert stat.S_IMODE(place.stat().st_mode) == 0o660


def test_a_socket_left_by_a_process_that_died_is_replaced(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    unix_listener(place).close()


def test_a_socket_that_somebody_listens_on_is_not_taken(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(place))
        alive.listen()
        with pytest.raises(OSError, match="in use"):
            unix_listener(place)


def test_a_file_that_is_no_socket_is_left_alone(place: Path) -> None:
    place.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        unix_listener(place)
    assert place.read_text() == "precious"
