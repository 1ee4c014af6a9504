"""The servers that are measured and the one they call: the mock upstream, nginx as yardstick, the gateway."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from bench.machine import GATEWAY_CORE, LOAD_CORE, Children, cpu_seconds, free_port
from bench.prepared import PREPARED
from bench.tools import HERE, MODELS, Tools

READY_SECONDS = 20.0
SHIP_SECONDS = 120.0
_UPSTREAM_KEY = "bench-upstream"


class Broken(Exception):
    """A server did not do what the benchmark needs of it; figures taken now would mean nothing."""


@dataclass
class Upstream:
    """The mock, and an nginx in front of it that speaks TLS; both on the load's core."""

    port: int
    tls_port: int
    processes: list[subprocess.Popen[bytes]]
    authority: Path
    """certificate that TLS clients must trust"""


@dataclass
class Target:
    """Something that answers chat requests on a port. `processes` is what its CPU is counted over."""

    name: str
    port: int
    path: str
    headers: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    tls_port: int = 0
    """where the same is to be had with TLS to the upstream; 0 = by model name on the same port"""
    sent: int = 0
    on_gateway_core: bool = True

    def model(self, key: str) -> str:
        """What a request for that row of MODELS names as its model."""
        return MODELS[key]

    def port_for(self, key: str) -> int:
        return self.tls_port if key == "tls" and self.tls_port else self.port

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid) if self.process is not None else 0.0

    def settle(self) -> tuple[int, float]:
        """Wait for work that goes on after the last answer: (rows that were behind, seconds it took)."""
        return 0, 0.0


def start_upstream(children: Children, tools: Tools, folder: Path) -> Upstream:
    folder.mkdir(parents=True, exist_ok=True)
    prepared = [option for each in PREPARED for option in each.write(folder)]
    mock = children.start([str(tools.upstream), "-p", "0", *prepared], core=LOAD_CORE, out=subprocess.PIPE)
    assert mock.stdout is not None
    port = int(mock.stdout.readline())
    authority, chain, key = folder / "authority.pem", folder / "server.pem", folder / "server.key"
    issuer = trustme.CA()
    certificate = issuer.issue_cert("localhost")
    issuer.cert_pem.write_to_path(str(authority))
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    tls_port = free_port()
    server = (
        f"server {{ listen 127.0.0.1:{tls_port} ssl backlog=4096; ssl_certificate {chain}; ssl_certificate_key {key}; "
        f"ssl_session_cache shared:tls:4m; {_location(f'http://127.0.0.1:{port}', 'plain')} }}"
    )
    front = _start_nginx(children, tools, folder / "tls", _upstream("plain", f"127.0.0.1:{port}") + server, LOAD_CORE)
    _wait_for_port(front, tls_port)
    return Upstream(port, tls_port, [mock, front], authority)


def start_nginx(children: Children, tools: Tools, folder: Path, upstream: Upstream) -> Target:
    """The yardstick: proxy_pass with keep-alive both ways, an access log, no work done on the content."""
    port, tls_port = free_port(), free_port()
    tls = (
        "proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_verify on; "
        f"proxy_ssl_trusted_certificate {upstream.authority}; proxy_ssl_session_reuse on;"
    )
    servers = (
        _upstream("plain", f"127.0.0.1:{upstream.port}")
        + _upstream("tls", f"127.0.0.1:{upstream.tls_port}")
        + f"server {{ listen 127.0.0.1:{port} backlog=4096; {_location('http://plain', 'plain')} }}\n"
        + f"server {{ listen 127.0.0.1:{tls_port} backlog=4096; {tls} {_location('https://tls', 'tls')} }}\n"
    )
    process = _start_nginx(children, tools, folder, servers, GATEWAY_CORE)
    _wait_for_port(process, port)
    return Target("nginx", port, "/v1/chat/completions", [], process, tls_port)


def _upstream(name: str, address: str) -> str:
    return f"upstream {name} {{ server {address}; keepalive 2048; keepalive_requests 1000000000; }}\n"


def _location(to: str, name: str) -> str:
    to = f"{to.partition('://')[0]}://{name}"
    return (
        f"location / {{ proxy_pass {to}; proxy_http_version 1.1; proxy_buffering off; proxy_set_header Connection ''; "
        f"proxy_set_header Authorization 'Bearer {_UPSTREAM_KEY}'; }}"
    )


def _start_nginx(children: Children, tools: Tools, folder: Path, servers: str, core: int) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root; " if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{user}worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log warn; "
        "worker_rlimit_nofile 32768;\nevents { worker_connections 16384; }\n"
        f"http {{ {temporary} access_log {folder}/access.log combined buffer=64k flush=1s; "
        "keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 64k;\n"
        f"{servers} }}\n"
    )
    log = (folder / "stderr.log").open("wb")
    return children.start([tools.nginx, "-c", str(config), "-p", str(folder), "-e", f"{folder}/error.log"],
                          core=core, out=log, err=log)  # fmt: skip


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.connect()
        except OSError:
            if process.poll() is not None:
                raise Broken(f"a server ended at its start with {process.returncode}; see its log") from None
            time.sleep(0.005)
            continue
        finally:
            connection.close()
        return
    raise Broken(f"nothing listens on port {port} after {READY_SECONDS:g} s")


# --- the gateway ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """One way to run the gateway."""

    name: str = "gateway"
    edge: str | None = None
    """None = the product's default"""
    durability: str = "process"
    reference_tokens: bool = False
    book: bool = True
    profile: Path | None = None
    """run it under cProfile and write here"""
    python: str | None = None
    """the interpreter it runs on; None = the one that measures. Of the same version: it uses the same packages"""


@dataclass
class Gateway(Target):
    variant: Variant = field(default_factory=Variant)
    home: Path = Path()
    config: Path = Path()
    env: dict[str, str] = field(default_factory=dict)
    greeting: str = ""
    started_s: float = 0.0
    """from the start of the process to its first answered completion"""

    def model(self, key: str) -> str:
        return f"bench/{key}"

    def behind(self) -> int:
        """Rows in the daybooks that the store has not got yet."""
        if not self.variant.book:
            return 0
        return asyncio.run(self._behind())

    async def _behind(self) -> int:
        from routebook.daybook.reading import read_daybooks
        from routebook.load.settings import load_settings
        from routebook.store.open import open_store

        loaded = load_settings(self.config, self.env)
        store = open_store(loaded.settings, loaded.home)
        try:
            rows = 0
            for book in read_daybooks(loaded.home):
                with book:
                    rows += book.highest()[0] - await store.cursor(book.name)
            return rows
        finally:
            await store.close()

    def settle(self) -> tuple[int, float]:
        begun = time.monotonic()
        behind = first = self.behind()
        quiet_since, calls = begun, -1
        while behind or (self.variant.reference_tokens and time.monotonic() - quiet_since < 1.0):
            # Reference counts come later than the answers they are of; a second without a new row ends the wait.
            if self.variant.reference_tokens and (rows := self.rows_in_book()) != calls:
                quiet_since, calls = time.monotonic(), rows
            if time.monotonic() - begun > SHIP_SECONDS:
                raise Broken(f"{behind} rows were not shipped {SHIP_SECONDS:g} s after the load ended")
            time.sleep(0.1)
            behind = self.behind()
        return first, time.monotonic() - begun

    def calls_in_book(self) -> int:
        """The highest call number of all daybooks: calls that the book knows of."""
        return self._highest()[1]

    def rows_in_book(self) -> int:
        return self._highest()[0]

    def _highest(self) -> tuple[int, int]:
        from routebook.daybook.reading import read_daybooks

        rows = calls = 0
        for book in read_daybooks(self.home):
            with book:
                seq, n = book.highest()
            rows, calls = rows + seq, calls + n
        return rows, calls

    def verify(self) -> dict[str, Any]:
        """What `routebook ledger verify --json` says."""
        done = subprocess.run(
            [sys.executable, "-m", "routebook", "ledger", "verify", "--json", "--config", str(self.config)],
            capture_output=True, text=True, env=self.env, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 1) or not done.stdout:
            raise Broken(f"ledger verify ended with {done.returncode}: {done.stderr.strip()[:400]}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report


def start_gateway(children: Children, folder: Path, upstream: Upstream, variant: Variant) -> Gateway:
    """A gateway with its own data folder and one key; answers when this returns."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config, home = folder / "routebook.toml", folder / "home"
    config.write_text(_configuration(upstream, variant), "utf-8")
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    env |= {"ROUTEBOOK_HOME": str(home), "SSL_CERT_FILE": str(upstream.authority)}
    if variant.python is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent / "src"), sysconfig.get_path("purelib")])
    made = subprocess.run(
        [sys.executable, "-m", "routebook", "keys", "create", "--name", "bench", "--config", str(config)],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    if made.returncode:
        raise Broken(f"no key could be made: {made.stderr.strip()[:400]}")
    gateway = Gateway(
        name=variant.name,
        port=0,
        path="/api/v1/chat/completions",
        headers=[f"Authorization: Bearer {made.stdout.strip()}"],
        variant=variant,
        home=home,
        config=config,
        env=env,
    )
    launch(children, gateway)
    return gateway


def launch(children: Children, gateway: Gateway) -> None:
    """Start its process, again if need be, and time it up to the first answered completion."""
    variant = gateway.variant
    module = ["-m", "routebook"] if variant.book else ["-m", "bench.nobook"]
    if variant.profile is not None:
        module = ["-m", "bench.profiled", str(variant.profile)]
    gateway.port = free_port()
    log = gateway.config.parent / "log"
    begun = time.perf_counter()
    with log.open("wb") as out:
        command = [
            variant.python or sys.executable,
            *module,
            "serve",
            "--config",
            str(gateway.config),
            "--port",
            str(gateway.port),
        ]
        gateway.process = children.start(
            command, core=GATEWAY_CORE, env=gateway.env, out=out, err=out, cwd=Path(__file__).parent.parent
        )
    body = json.dumps({"model": "bench/fast", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    while True:
        try:
            status, answer, _ = ask(gateway, body)
        except OSError:
            if gateway.process.poll() is not None or time.perf_counter() - begun > READY_SECONDS:
                raise Broken(f"the gateway did not start:\n{log.read_text('utf-8', 'replace')[-1500:]}") from None
            time.sleep(0.002)
            continue
        gateway.started_s = time.perf_counter() - begun
        if status != 200:
            raise Broken(f"the first completion was answered {status}: {answer[:400]!r}")
        break
    greeting = log.read_text("utf-8", "replace").splitlines()
    gateway.greeting = greeting[0] if greeting else ""


def ask(target: Target, body: bytes, port: int | None = None) -> tuple[int, bytes, dict[str, str]]:
    """One request by plain means: (status, body, headers with lower-case names). Counted as sent. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port or target.port, timeout=20)
    try:
        headers = {"Content-Type": "application/json"}
        headers.update(dict(line.split(": ", 1) for line in target.headers))
        connection.request("POST", target.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        target.sent += 1
        return answer.status, data, {name.lower(): value for name, value in answer.getheaders()}
    except http.client.HTTPException as error:
        raise OSError(f"not an HTTP answer: {error!r}") from error
    finally:
        connection.close()


def edge_of(greeting: str) -> str:
    """The edge that the start-up line names."""
    return greeting.rpartition("edge ")[2].split()[0] if "edge " in greeting else "unknown"


def _configuration(upstream: Upstream, variant: Variant) -> str:
    edge = "" if variant.edge is None else f'\nedge = "{variant.edge}"'
    parts = [
        f"[server]\ndrain = 5{edge}",
        f'[store]\ndurability = "{variant.durability}"',
        f"[accounting]\nreference_tokens = {str(variant.reference_tokens).lower()}",
    ]
    providers = {
        "mock": ("openai_chat", f"http://127.0.0.1:{upstream.port}/v1"),
        "mock-tls": ("openai_chat", f"https://localhost:{upstream.tls_port}/v1"),
        "mock-claude": ("anthropic", f"http://127.0.0.1:{upstream.port}"),
    }
    models = dict(MODELS)
    for each in PREPARED:
        providers[f"mock-{each.dialect}"] = (each.dialect, f"http://127.0.0.1:{upstream.port}{each.base}")
        models[each.dialect] = f"mock-{each.dialect}"
    for slug, (dialect, url) in providers.items():
        parts.append(
            f'[[providers]]\nslug = "{slug}"\ndialect = "{dialect}"\nbase_url = "{url}"\napi_key = "{_UPSTREAM_KEY}"\n'
            "abortable = true"
        )
    for key, name in models.items():
        own = "mock-claude" if key.startswith("claude") else f"mock-{key}"
        provider = own if own in providers else "mock"
        parts.append(
            f'[[models]]\nslug = "bench/{key}"\ncontext_length = 1000000\n[[models.endpoints]]\n'
            f'provider = "{provider}"\nupstream_model = "{name}"\n[models.endpoints.pricing]\n'
            'prompt = "0.0000025"\ncompletion = "0.00001"\ninput_cache_read = "0.00000125"'
        )
    return "\n\n".join(parts) + "\n"
