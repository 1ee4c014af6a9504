"""The tools under the benchmark: two C programs compiled into a cache folder, nginx, and the bodies that are sent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.machine import Missing

HERE = Path(__file__).parent
OUT = HERE / "out"
_FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra"]

MODELS = {
    "fast": "mock-fast",
    "paced10": "mock-paced10",
    "paced100": "mock-paced100",
    "claude": "mock-claude",
    "claude-paced100": "mock-claude-paced100",
    "tls": "mock-tls",
}
"""The gateway's model `bench/<key>` -> the name the upstream gets; `pacedN` in it is the upstream's marker."""


@dataclass(frozen=True)
class Tools:
    load: Path
    upstream: Path
    nginx: str
    nginx_version: str


def find_tools() -> Tools:
    """Compile what is not compiled yet. Raises Missing."""
    gcc = shutil.which("gcc")
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    wanted = [name for name, found in (("gcc", gcc), ("nginx-light", nginx)) if not found]
    if gcc is None or nginx is None:
        raise Missing(f"the benchmark needs {' and '.join(wanted)}: apt-get install {' '.join(wanted)}")
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    return Tools(compiled("load"), compiled("upstream"), nginx, said.strip().rpartition("/")[2])


def compiled(name: str) -> Path:
    """The program of `<name>.c`, compiled if it is not yet. Raises Missing."""
    source = HERE / f"{name}.c"
    mark = sha256(source.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    program = OUT / "programs" / f"{name}-{mark}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        fresh = program.with_name(f"{program.name}.{os.getpid()}")
        done = subprocess.run(
            ["gcc", *_FLAGS, "-o", str(fresh), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Missing(f"gcc could not compile {source.name}:\n{done.stderr}")
        fresh.rename(program)
    return program


class Bodies:
    """Request bodies as files; each is written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, model: str, *, stream: bool = False, size: int = 1024) -> Path:
        """A chat request of about `size` bytes for the model, as a client would write it."""
        path = self._folder / f"{model.replace('/', '-')}-{'stream' if stream else 'json'}-{size}"
        if not path.exists():
            path.write_text(json.dumps(_request(model, stream, size)), "utf-8")
        return path

    def image(self, model: str, size: int) -> Path:
        """A request with an image of `size` bytes of base64 in it."""
        path = self._folder / f"{model.replace('/', '-')}-image-{size}"
        if not path.exists():
            line = "iVBORw0KGgoAAAANSUhEUgAAB4AAAAQ4CAIAAABnsVYUAAEAAElEQVR4nOy9d7gkV3nn/zmVOt"
            data = (line * (size // len(line) + 1))[: size // 4 * 4]
            part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
            request = _request(model, False, 1024)
            request["messages"][-1]["content"] = [{"type": "text", "text": "What is on it?"}, part]
            path.write_text(json.dumps(request), "utf-8")
        return path


_SENTENCE = "Please sum up the quarterly report in four sentences, and name the figures that changed most since May. "


def _request(model: str, stream: bool, size: int) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a careful assistant. Answer in plain English."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.7,
        "max_tokens": 512,
        "top_p": 0.95,
    }
    if stream:
        request["stream"] = True
        request["stream_options"] = {"include_usage": True}
    missing = max(0, size - len(json.dumps(request)))
    request["messages"][1]["content"] = (_SENTENCE * (missing // len(_SENTENCE) + 1))[:missing]
    return request
