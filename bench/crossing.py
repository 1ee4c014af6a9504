"""Translated lanes, over sockets: callers of the chat API with providers of every dialect, and callers of every API
with a provider of the chat API. Each single answer is looked at before anything is measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.drive import Driver, Run
from bench.measure import Effort, Result, middle, spread
from bench.prepared import PREPARED, STREAMED, WHOLE
from bench.probe import TEXT
from bench.servers import Broken, Gateway, ask
from bench.tools import Bodies

END_MARK = "data: [DONE]"


@dataclass(frozen=True)
class Lane:
    """One way through the gateway."""

    name: str
    key: str
    """of the model: `bench/<key>`"""
    path: str
    streamed_path: str
    ask: Callable[[dict[str, Any]], dict[str, Any]]
    """a chat request in the words of the caller's API"""
    end: str
    """how the last data line of a stream begins, in 16 characters"""
    counted: str
    """what only the end of a whole answer has in it"""


def _chat(said: dict[str, Any]) -> dict[str, Any]:
    return said


def _messages(said: dict[str, Any]) -> dict[str, Any]:
    system, turn = said["messages"]
    rest = {name: value for name, value in said.items() if name not in ("messages", "stream_options", "top_p")}
    return {**rest, "system": system["content"], "messages": [turn]}


def _responses(said: dict[str, Any]) -> dict[str, Any]:
    system, turn = said["messages"]
    out = {"model": said["model"], "instructions": system["content"], "input": [turn], "max_output_tokens": 512}
    return {**out, "temperature": 0.7, "top_p": 0.95, **({"stream": True} if said.get("stream") else {})}


def _gemini(said: dict[str, Any]) -> dict[str, Any]:
    system, turn = said["messages"]
    return {
        "systemInstruction": {"parts": [{"text": system["content"]}]},
        "contents": [{"role": "user", "parts": [{"text": turn["content"]}]}],
        "generationConfig": {"temperature": 0.7, "topP": 0.95, "maxOutputTokens": 512},
    }


CHAT = ("/api/v1/chat/completions", "/api/v1/chat/completions", _chat, END_MARK, '"total_tokens"')
MODEL = "/v1beta/models/bench/fast"
LANES = (
    Lane("chat → openai_chat (the fast lane)", "fast", *CHAT),
    Lane("chat → anthropic", "claude", *CHAT),
    *(Lane(f"chat → {each.dialect}", each.dialect, *CHAT) for each in PREPARED),
    Lane("messages → openai_chat", "fast", "/api/v1/messages", "/api/v1/messages", _messages, 'data: {"type":"m',
         '"output_tokens"'),
    Lane("responses → openai_chat", "fast", "/api/v1/responses", "/api/v1/responses", _responses, END_MARK,
         '"output_tokens"'),
    Lane("gemini → openai_chat", "fast", f"{MODEL}:generateContent", f"{MODEL}:streamGenerateContent?alt=sse", _gemini,
         "data: {", '"candidatesTokenCount"'),
)  # fmt: skip


def body_of(bodies: Bodies, lane: Lane, stream: bool) -> Path:
    """The caller's request, about 1 KB."""
    chat = bodies.get(f"bench/{lane.key}", stream=stream)
    path = chat.with_name(f"{chat.name}-{re.sub('[^a-z]+', '-', lane.path)}")
    if not path.exists():
        path.write_text(json.dumps(lane.ask(json.loads(chat.read_text("utf-8")))), "utf-8")
    return path


def probed(lane: Lane, gateway: Gateway, bodies: Bodies) -> int:
    """Ask once for each kind of answer; data lines of the stream. Raises Broken."""
    status, data, _ = ask(replace(gateway, path=lane.path), body_of(bodies, lane, False).read_bytes())
    names = rb'"(?:completion_tokens|output_tokens|candidatesTokenCount)":(\d+)'
    if status != 200 or b"%d" % WHOLE not in re.findall(names, data):
        raise Broken(f"{lane.name} is answered wrongly: status {status}, {data[:400]!r}")
    status, data, _ = ask(replace(gateway, path=lane.streamed_path), body_of(bodies, lane, True).read_bytes())
    gateway.sent += 2
    lines = [line[6:] for line in data.splitlines() if line.startswith(b"data: ")]
    text = "".join(_texts(json.loads(line)) for line in lines if line != b"[DONE]")
    if status != 200 or text != TEXT or f":{STREAMED}".encode() not in b"".join(lines[-3:]):
        raise Broken(f"{lane.name} is streamed wrongly: status {status}, text {text[:80]!r}, the end {data[-300:]!r}")
    return len(lines)


def _texts(frame: dict[str, Any]) -> str:
    """The words of one event, in whatever API."""
    if frame.get("type") == "content_block_delta":
        return str(frame["delta"]["text"])
    if frame.get("type") == "response.output_text.delta":
        return str(frame["delta"])
    for choice in frame.get("choices", ()):
        return str(choice["delta"].get("content") or "")
    for candidate in frame.get("candidates", ()):
        return "".join(part.get("text", "") for part in (candidate.get("content") or {}).get("parts", ()))
    return ""


def measured(drive: Driver, gateway: Gateway, effort: Effort) -> Result:
    """CPU per 1 KB request and per event of a fast stream, of every lane, in interleaved rounds."""
    events = {lane.name: probed(lane, gateway, drive.bodies) for lane in LANES}

    def once(lane: Lane, stream: bool, **amount: Any) -> Run:
        target = replace(gateway, path=lane.streamed_path if stream else lane.path, sent=0)
        try:
            return drive.load(
                target, body_of(drive.bodies, lane, stream), connections=32 if stream else 64,
                events=events[lane.name] if stream else None, end=lane.end, text=lane.counted, **amount,
            )  # fmt: skip
        finally:
            gateway.sent += target.sent

    for lane in LANES:
        once(lane, False, requests=1000)
        once(lane, True, requests=64)
    runs: dict[str, tuple[list[Run], list[Run]]] = {lane.name: ([], []) for lane in LANES}
    for _ in range(effort.rounds):
        for lane in LANES:
            runs[lane.name][0].append(once(lane, False, seconds=effort.seconds))
            runs[lane.name][1].append(once(lane, True, seconds=effort.seconds))
    return {
        name: {
            "cpu_us": spread([run.cpu_us for run in whole]),
            "per_second": middle([run.per_second for run in whole]),
            "event_us": spread([run.event_us for run in streamed]),
            "events_per_stream": events[name],
            "foreign": [round(run.foreign, 3) for run in (*whole, *streamed)],
        }
        for name, (whole, streamed) in runs.items()
    }


def print_lanes(lanes: Result, console: Console) -> None:
    """A row for each; the first is what the others are held against."""
    table = Table(title="Translated lanes", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for title in ("caller → provider", "CPU µs/request", "x", "µs/event, fast", "x", "events"):
        table.add_column(title, justify="left" if title.startswith("caller") else "right")
    first = next(iter(lanes.values()))
    for name, each in lanes.items():
        cpu, event = each["cpu_us"]["median"], each["event_us"]["median"]
        table.add_row(
            name, f"{cpu:.1f}", f"{cpu / first['cpu_us']['median']:.2f}", f"{event:.2f}",
            f"{event / first['event_us']['median']:.2f}", str(each["events_per_stream"]),
        )  # fmt: skip
    console.print()
    console.print(table)
