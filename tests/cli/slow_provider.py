"""A provider that begins its answer and goes on only when the test says so."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.cli.child import PATIENCE

_FIRST = '{"id":"up-1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}'
_LAST = '{"id":"up-1","choices":[{"index":0,"delta":{"content":" again"},"finish_reason":"stop"}]}'
_USAGE = '{"id":"up-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}'


class SlowProvider:
    """Streams "Hello", waits for `go`, then streams " again", usage and the end."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.go))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def configuration(self, drain: float = 10) -> str:
        """A configuration file with this provider and its model `acme/slow`."""
        port = self._server.server_address[1]
        return (
            f"[server]\nport = 0\ndrain = {drain}\n[accounting]\nreference_tokens = false\n"
            f'[[providers]]\nslug = "acme"\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
            'api_key = "secret-of-acme"\nabortable = true\n'
            '[[models]]\nslug = "acme/slow"\n[[models.endpoints]]\nprovider = "acme"\nupstream_model = "slow"\n'
            '[models.endpoints.pricing]\nprompt = "0.001"\ncompletion = "0.002"\n'
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


def _handler(go: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            try:
                self._event(_FIRST)
                go.wait(PATIENCE)
                for data in (_LAST, _USAGE, "[DONE]"):
                    self._event(data)
            except OSError:
                pass  # the gateway has hung up

        def _event(self, data: str) -> None:
            self.wfile.write(f"data: {data}\n\n".encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
