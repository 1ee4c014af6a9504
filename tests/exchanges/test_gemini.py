"""Recorded answers of Google AI Studio, the Gemini API and Vertex AI, read by the gemini dialect.

The oracle works the facts out of the recorded JSON with plain dict access; it shares nothing with the dialect.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from routebook.core.errors import UpstreamCredential, UpstreamGarbage, UpstreamLimited, UpstreamRefused
from routebook.core.usage import Usage
from routebook.dialects.gemini import UPSTREAM
from routebook.wire import codec
from tests.exchanges.harness import Exchange, Facts, check, differences, exchanges, read_three_ways, refused

FILES = ("google-ai-studio.generate_content", "google.generate_content", "google-vertex.generate_content")

RECORDED = [(name, exchange) for name in FILES for exchange in exchanges(name)]


def total(details: list[Any], modality: str) -> int | None:
    found = [item["tokenCount"] for item in details if item["modality"] == modality]
    return sum(found) if found else None


def last_with(frames: list[dict[str, Any]], name: str) -> Any:
    return next((frame[name] for frame in reversed(frames) if frame.get(name)), None)


def expected_usage(frames: list[dict[str, Any]]) -> Usage:
    report = last_with(frames, "usageMetadata")
    queries = set()
    fetched = set()
    for frame in frames:
        for candidate in frame.get("candidates", []):
            queries |= set(candidate.get("groundingMetadata", {}).get("webSearchQueries", []))
            fetched |= {one["retrievedUrl"] for one in candidate.get("urlContextMetadata", {}).get("urlMetadata", [])}
    prompt_details = report.get("promptTokensDetails", []) + report.get("toolUsePromptTokensDetails", [])
    per_query = not last_with(frames, "modelVersion").startswith(("gemini-1", "gemini-2"))
    return Usage(
        prompt=report["promptTokenCount"] + report.get("toolUsePromptTokenCount", 0),
        completion=report["totalTokenCount"] - report["promptTokenCount"] - report.get("toolUsePromptTokenCount", 0),
        reasoning=report.get("thoughtsTokenCount"),
        cached=report.get("cachedContentTokenCount"),
        audio_prompt=total(prompt_details, "AUDIO"),
        audio_cached=total(report.get("cacheTokensDetails", []), "AUDIO"),
        audio_completion=total(report.get("candidatesTokensDetails", []), "AUDIO"),
        image_prompt=total(prompt_details, "IMAGE"),
        video_prompt=total(prompt_details, "VIDEO"),
        image_completion=total(report.get("candidatesTokensDetails", []), "IMAGE"),
        web_searches=(len(queries) if per_query else 1) if queries else None,
        web_fetches=len(fetched) or None,
        raw=codec.encode(report),
    )


def expected_calls(calls: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Whole calls, and calls in pieces: strings by path joined, then laid out as the paths say."""
    out: list[tuple[str, Any]] = []
    for call in calls:
        if "name" in call:
            out.append((call["name"], json.loads(json.dumps(call.get("args", {}), default=float))))
        values: dict[str, Any] = defaultdict(str)
        for piece in call.get("partialArgs", []):
            path = piece["jsonPath"].removeprefix("$.")
            value = piece.get("stringValue", piece.get("numberValue"))
            values[path] = values[path] + value if isinstance(value, str) else float(value)
        for path, value in values.items():
            lay(out[-1][1], path.replace("[", ".[").split("."), value)
    return out


def lay(target: Any, steps: list[str], value: Any) -> None:
    step: Any = int(steps[0][1:-1]) if steps[0].startswith("[") else steps[0]
    if isinstance(target, list) and len(target) <= step:
        target.append(None)
    if isinstance(target, dict):
        target.setdefault(step, None)
    if len(steps) == 1:
        target[step] = (target[step] or "") + value if isinstance(value, str) else value
    else:
        if target[step] is None:
            target[step] = [] if steps[1].startswith("[") else {}
        lay(target[step], steps[1:], value)


def expected_annotations(candidates: list[dict[str, Any]]) -> int:
    """A citation a supported web source, and one for each web source that no support names; a repeat is none."""
    found = set()
    for candidate in candidates:
        grounding = candidate.get("groundingMetadata", {})
        sources = [chunk.get("web", {}).get("uri") for chunk in grounding.get("groundingChunks", [])]
        named = set()
        for support in grounding.get("groundingSupports", []):
            for index in support["groundingChunkIndices"]:
                named.add(index)
                if sources[index]:
                    found.add((sources[index], support["segment"].get("startIndex", 0), support["segment"]["endIndex"]))
        found |= {(uri, None, None) for index, uri in enumerate(sources) if uri and index not in named}
    return len(found)


def expected(exchange: Exchange) -> Facts:
    frames = exchange.objects()
    if "predictions" in frames[0]:  # an embeddings answer among the recordings: it is no generation and must fail
        return Facts(failed=UpstreamGarbage())
    candidates = [one for frame in frames for one in frame.get("candidates", []) if one.get("index", 0) == 0]
    found = [part for candidate in candidates for part in candidate.get("content", {}).get("parts", [])]
    calls = expected_calls([part["functionCall"] for part in found if "functionCall" in part])
    native = last_with(candidates, "finishReason")
    report = last_with(frames, "usageMetadata")
    reason = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length", "UNEXPECTED_TOOL_CALL": "error"}[
        native
    ]
    tiers = {"standard": "default", "ON_DEMAND": "default", "PROVISIONED_THROUGHPUT": "provisioned_throughput"}
    return Facts(
        upstream_id=last_with(frames, "responseId"),
        model=last_with(frames, "modelVersion"),
        text="".join(part.get("text", "") for part in found if not part.get("thought")),
        reasoning="".join(part.get("text", "") for part in found if part.get("thought")),
        tool_calls=calls,
        finish=reason,
        native=native,
        usage=expected_usage(frames),
        images=sum(part.get("inlineData", {}).get("mimeType", "").startswith("image/") for part in found),
        annotations=expected_annotations(candidates),
        service_tier=tiers.get(report.get("serviceTier") or report.get("trafficType")),
    )


@pytest.mark.parametrize(("name", "exchange"), RECORDED, ids=[f"{e.provider}-{e.name}" for _, e in RECORDED])
def test_every_recorded_answer_gives_the_facts_that_its_json_holds(name: str, exchange: Exchange) -> None:
    if exchange.status == 200:
        check(name, exchange, differences(read_three_ways(UPSTREAM, exchange), expected(exchange)))
        return
    fault = refused(UPSTREAM, exchange)
    error = exchange.objects()[0]["error"]
    kind = {429: UpstreamLimited, 404: UpstreamCredential, 400: UpstreamRefused}[error["code"]]
    wrong = [] if type(fault) is kind else [f"kind: {type(fault).__name__}, expected {kind.__name__}"]
    if kind is UpstreamCredential:
        wrong += [f"message: {fault.message!r} shows the provider's words"] if error["message"] in fault.message else []
    elif fault.message != error["message"][:500]:
        wrong.append(f"message: {fault.message!r}, expected the provider's")
    if kind is UpstreamLimited and (fault.retry_after, fault.metadata) != (34.4, {"kind": "rate"}):
        wrong.append(f"retry: {fault.retry_after!r} {fault.metadata!r}")
    check(name, exchange, wrong)
