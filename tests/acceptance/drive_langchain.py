"""Runs under pytest inside the environment of `langchain-openrouter`: LangChain's standard tests of a chat model, with
that model pointed at a gateway.

usage: pytest drive_langchain.py, with in its environment
    ROUTEBOOK_ASKED     JSON, an object for each model that is asked: {name, base, key, model, other, method, details}
    ROUTEBOOK_SEEN      a folder; its file NAME gets a line of JSON for each answer that LangChain got

The standard tests fetch a picture, a document and a sound from public sites to hand them to the model. Here these are
made on the spot, so nothing but loopback is reached; the gateway gets bytes of the right kind either way.
"""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar

import httpx  # type: ignore[import-not-found]
import pytest
from langchain_core.callbacks import BaseCallbackHandler  # type: ignore[import-not-found]
from langchain_core.messages import AIMessage  # type: ignore[import-not-found]
from langchain_openrouter import ChatOpenRouter  # type: ignore[import-not-found]
from langchain_tests.integration_tests import ChatModelIntegrationTests  # type: ignore[import-not-found]
from langchain_tests.unit_tests import ChatModelUnitTests  # type: ignore[import-not-found]

ASKED = json.loads(os.environ["ROUTEBOOK_ASKED"])
SEEN = Path(os.environ["ROUTEBOOK_SEEN"])

COUNTED = "Count. [[prompt=90 cached=40 written=10 completion=20 reasoning=5]]"
"""What the scripted provider then bills."""
DETAILS = {
    "cache_read_input": ("input_token_details", "cache_read", 40),
    "cache_creation_input": ("input_token_details", "cache_creation", 10),
    "reasoning_output": ("output_token_details", "reasoning", 5),
}
"""LangChain's name of a count -> where it is to be seen, and what it is."""


def _png() -> bytes:
    """One white pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\x00\xff")) + chunk(b"IEND", b"")
    )


def _wav() -> bytes:
    """One silent sample."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 2) + b"\x80\x80"
    return b"RIFF" + struct.pack("<I", len(body)) + body


MEDIA = {".png": _png(), ".wav": _wav(), ".pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer <<>>\n%%EOF\n"}


@pytest.fixture(autouse=True, scope="session")
def media_made_here() -> Any:
    """`httpx.get`, with which the standard tests fetch their media, and which no client uses."""

    def get(url: str, **more: Any) -> Any:
        return httpx.Response(200, content=MEDIA[Path(url).suffix])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "get", get)
        yield


class Noter(BaseCallbackHandler):  # type: ignore[misc]
    """Notes the usage and cost that LangChain shows of each answer."""

    def __init__(self, name: str) -> None:
        self._file = SEEN / name

    def on_llm_end(self, response: Any, **more: Any) -> None:
        for (generation,) in response.generations:
            message = generation.message
            about = {**(response.llm_output or {}), **message.response_metadata}
            seen = {"id": about.get("id"), "usage": message.usage_metadata, "cost": about.get("cost")}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(seen) + "\n")


class TestWithoutCalls(ChatModelUnitTests):  # type: ignore[misc]
    """The standard unit tests: what a model is before it is asked anything."""

    @property
    def chat_model_class(self) -> type[Any]:
        return ChatOpenRouter  # type: ignore[no-any-return]

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "author/model", "api_key": "a-key", "base_url": "http://127.0.0.1:9/api/v1"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"OPENROUTER_API_KEY": "a-key", "OPENROUTER_API_BASE": "http://127.0.0.1:9/api/v1"},
            {"model": "author/model"},
            {"openrouter_api_key": "a-key", "openrouter_api_base": "http://127.0.0.1:9/api/v1"},
        )


class ThroughTheGateway(ChatModelIntegrationTests):  # type: ignore[misc]
    """The standard integration tests, each of which asks a model; every ability that can be claimed is claimed."""

    asked: ClassVar[dict[str, Any]]

    @property
    def chat_model_class(self) -> type[Any]:
        return ChatOpenRouter  # type: ignore[no-any-return]

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.asked["model"],
            "api_key": self.asked["key"],
            "base_url": self.asked["base"],
            "max_retries": 0,
            "timeout": 30_000,
            "callbacks": [Noter(self.asked["name"])],
        }

    @property
    def model_override_value(self) -> str:
        return str(self.asked["other"])

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": self.asked["method"]}

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        return {"invoke": self.asked["details"], "stream": self.asked["details"]}

    def counted(self, name: str, stream: bool) -> AIMessage:
        message = self.chat_model_class(**self.chat_model_params, streaming=stream).invoke(COUNTED)
        group, member, count = DETAILS[name]
        assert message.usage_metadata[group][member] == count
        return message

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self.counted("cache_read_input", stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self.counted("cache_creation_input", stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self.counted("reasoning_output", stream)


for _ability in (
    "supports_json_mode",
    "supports_image_inputs",
    "supports_image_urls",
    "supports_image_tool_message",
    "supports_pdf_inputs",
    "supports_pdf_tool_message",
    "supports_audio_inputs",
    "supports_anthropic_inputs",
):
    setattr(ThroughTheGateway, _ability, property(lambda _: True))

for _asked in ASKED:
    _name = f"Test_{_asked['name']}"
    globals()[_name] = type(_name, (ThroughTheGateway,), {"asked": _asked})
