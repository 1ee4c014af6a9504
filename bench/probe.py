"""Looks at single answers closely before anything is measured: are they right, and how many events have they?"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from bench.prepared import TEXTS
from bench.servers import Broken, Gateway, Target, ask
from bench.tools import Bodies

TEXT = "".join(TEXTS)


def probe(target: Target, bodies: Bodies, keys: list[str]) -> dict[tuple[str, str], int]:
    """Ask once for a JSON answer and once for a stream of every model. Gives data lines per stream. Raises Broken."""
    events = {}
    for key in keys:
        _unary(target, key, bodies.get(target.model(key)))
        if key != "paced100":
            events[target.name, key] = _stream(target, key, bodies.get(target.model(key), stream=True))
    if (target.name, "fast") in events and "paced100" in keys:
        events[target.name, "paced100"] = events[target.name, "fast"]
    return events


def _fail(target: Target, key: str, what: str) -> Broken:
    return Broken(f"{target.name} answers a request for {target.model(key)} wrongly: {what}")


def _unary(target: Target, key: str, body: Path) -> None:
    status, data, headers = ask(target, body.read_bytes(), target.port_for(key))
    if status != 200:
        raise _fail(target, key, f"status {status}, {data[:300]!r}")
    answer = json.loads(data)
    if answer["usage"]["total_tokens"] != 308:
        raise _fail(target, key, f"usage {answer['usage']}")
    if isinstance(target, Gateway):
        if answer["model"] != target.model(key) or not answer["id"].startswith("gen-"):
            raise _fail(target, key, f"model {answer['model']!r}, id {answer['id']!r}")
        if headers.get("x-generation-id") != answer["id"]:
            raise _fail(target, key, "the id in the head is not the one in the body")


def _stream(target: Target, key: str, body: Path) -> int:
    status, data, _ = ask(target, body.read_bytes(), target.port_for(key))
    lines = [line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")]
    if status != 200 or not lines or lines[-1] != b"[DONE]":
        raise _fail(target, key, f"status {status}, {len(lines)} events, the end {data[-200:]!r}")
    frames: list[dict[str, Any]] = [json.loads(line) for line in lines[:-1]]
    choices = [choice for frame in frames for choice in frame["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    usages = [frame["usage"] for frame in frames if frame.get("usage")]
    finishes = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    if text != TEXT:
        raise _fail(target, key, f"the text is {text[:80]!r}… of {len(text)} characters, not {TEXT[:30]!r}…")
    if len(usages) != 1 or usages[0]["completion_tokens"] != 200 or finishes != ["stop"]:
        raise _fail(target, key, f"usage {usages}, finish {finishes}")
    return len(lines)


def probe_record(gateway: Gateway, body: Path) -> None:
    """The record of one call, read at once over HTTP, must have the upstream's numbers in it. Raises Broken."""
    _, _, headers = ask(gateway, body.read_bytes())
    id = headers["x-generation-id"]
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        connection.request("GET", f"/api/v1/generation?id={id}", headers={"Authorization": gateway.headers[0][15:]})
        answer = connection.getresponse()
        data = json.loads(answer.read())
    finally:
        connection.close()
    record = data.get("data", {})
    wanted = {"id": id, "native_tokens_prompt": 212, "native_tokens_completion": 96, "native_tokens_cached": 128}
    found = {name: record.get(name) for name in wanted}
    if answer.status != 200 or found != wanted or not record.get("total_cost"):
        raise Broken(f"the record of {id} is wrong: status {answer.status}, {found}, cost {record.get('total_cost')}")
