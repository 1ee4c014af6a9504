"""Small readings of one Gemini answer: usage, finish reasons, citations, log probabilities, tool arguments in pieces.

Pure functions over decoded JSON whose every member may be missing or of another type. `dialects.gemini` puts them in
order. Sources, read 2026-11: ai.google.dev "Generating content" (GenerateContentResponse, UsageMetadata,
FinishReason, GroundingMetadata); cloud.google.com "streamFunctionCallArguments" (partialArgs); ai.google.dev
"Pricing" (how searches are billed); generation record, sections 9.1 and 9.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from routebook.core.usage import Usage
from routebook.wire import codec


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


# --- usage ------------------------------------------------------------------------------------------------------------

_COMPLETION = ("candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount")
"""`response…` is what newer Vertex bodies call `candidates…`"""


def count(value: Any) -> int | None:
    """A count of tokens, None for anything that is none. Protobuf's JSON may write integers as strings."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, Decimal) and value == value.to_integral_value() and abs(value) < 10**15:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def merged(known: Mapping[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """The best known whole after one more report.

    Every report is cumulative, so a whole one replaces what was known. Reports in the middle of a stream may lack the
    completion's counts, or hold nothing but the traffic type: those only add to what is known.
    """
    if "promptTokenCount" in report and any(name in report for name in _COMPLETION):
        return report
    if not any(name in known for name in ("promptTokenCount", *_COMPLETION)):
        return report
    return {**known, **report}


def usage(report: dict[str, Any], searches: int | None, fetches: int | None) -> Usage:
    """Normalised counts: prompt includes cached tokens and what built-in tools read, completion includes thoughts."""
    prompt, tool_use = count(report.get("promptTokenCount")), count(report.get("toolUsePromptTokenCount"))
    if prompt is not None:
        prompt += tool_use or 0
    twice = "responseTokenCount" if "candidatesTokenCount" in report else ""
    told = [count(report[name]) for name in _COMPLETION if name in report and name != twice]
    known = [number for number in told if number is not None]
    completion = sum(known) if told and len(known) == len(told) else None  # half a sum would be a wrong count
    if not told:
        # Zero is left out of the JSON; the total says whether it was zero.
        total = count(report.get("totalTokenCount"))
        if total is not None and prompt is not None and total >= prompt:
            completion = total - prompt
    inputs = modalities(report.get("promptTokensDetails"), report.get("toolUsePromptTokensDetails"))
    outputs = modalities(report.get("candidatesTokensDetails") or report.get("responseTokensDetails"))
    return Usage(
        prompt=prompt,
        completion=completion,
        reasoning=count(report.get("thoughtsTokenCount")),
        cached=count(report.get("cachedContentTokenCount")),
        audio_prompt=inputs.get("AUDIO"),
        audio_cached=modalities(report.get("cacheTokensDetails")).get("AUDIO"),
        audio_completion=outputs.get("AUDIO"),
        image_prompt=inputs.get("IMAGE"),
        video_prompt=inputs.get("VIDEO"),
        image_completion=outputs.get("IMAGE"),
        web_searches=searches,
        web_fetches=fetches,
        raw=codec.encode(report),
    )


def modalities(*details: Any) -> dict[str, int]:
    """Tokens by modality (`AUDIO`, `IMAGE`, …), summed over the given lists."""
    out: dict[str, int] = {}
    for item in (item for listed in details for item in objects(listed)):
        number, name = count(item.get("tokenCount")), item.get("modality")
        if number is not None and isinstance(name, str):
            out[name] = out.get(name, 0) + number
    return out


_TIERS = {
    "standard": "default",
    "on_demand": "default",
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
    "unspecified": None,
    "service_tier_unspecified": None,
    "traffic_type_unspecified": None,
}


def tier(*told: Any) -> str | None:
    """The first service tier among the words, in the record's terms; other words stay as they are, in lower case."""
    for word in told:
        if isinstance(word, str) and word:
            low = word.lower()
            name = _TIERS.get(low, low)
            if name is not None:
                return name
    return None


# --- finish -----------------------------------------------------------------------------------------------------------

_FILTERED = words(
    "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII MODEL_ARMOR JAILBREAK "
    "IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION"
)
_WRONG = words(
    "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE"
)


FINISH_REASONS = _FILTERED | _WRONG | words("STOP MAX_TOKENS OTHER NO_IMAGE IMAGE_OTHER FINISH_REASON_UNSPECIFIED")
"""Gemini's words for the end of a candidate"""


def finish(native: str | None, *, content: bool, tools: bool) -> str:
    """The normalised finish reason. `OTHER` and every word not known here is an error only where no content came."""
    if native in _FILTERED:
        return "content_filter"
    if native in _WRONG:
        return "error"
    if native == "MAX_TOKENS":
        return "length"
    if native == "STOP" or content or tools:
        return "tool_calls" if tools else "stop"
    return "error"


# --- log probabilities ------------------------------------------------------------------------------------------------


def logprobs(result: Any) -> dict[str, Any] | None:
    """`logprobsResult` in the chat API's shape {content: [{token, logprob, bytes, top_logprobs}]}, None without one."""
    if not isinstance(result, dict):
        return None
    tops = objects(result.get("topCandidates"))
    content: list[dict[str, Any]] = []
    for at, chosen in enumerate(objects(result.get("chosenCandidates"))):
        top = objects(tops[at].get("candidates")) if at < len(tops) else []
        content.append({**_token(chosen), "top_logprobs": [_token(item) for item in top]})
    return {"content": content, "refusal": None} if content else None


def _token(item: dict[str, Any]) -> dict[str, Any]:
    token = text(item.get("token"))
    # A probability of one is 0.0, which protobuf leaves out.
    return {
        "token": token,
        "logprob": item.get("logProbability", 0),
        "bytes": list(token.encode("utf-8", "surrogatepass")),
    }


# --- citations and searches -------------------------------------------------------------------------------------------


def citations(candidate: dict[str, Any], parts: list[str]) -> list[dict[str, Any]]:
    """url_citation annotations of a candidate. `parts` are its texts so far, "" for each part without text.

    Gemini counts offsets in UTF-8 bytes, callers count characters. A source that no support points at is given
    without offsets; one without a URL (a file search's text) is not a URL citation.
    """
    out: list[dict[str, Any]] = []
    grounding = candidate.get("groundingMetadata")
    if isinstance(grounding, dict):
        sources = [_source(chunk) for chunk in objects(grounding.get("groundingChunks"))]
        used: set[int] = set()
        for support in objects(grounding.get("groundingSupports")):
            segment = support.get("segment")
            span = _span(segment if isinstance(segment, dict) else {}, parts)
            indices = support.get("groundingChunkIndices")
            for index in indices if isinstance(indices, list) else ():
                at = count(index)
                if at is not None and at < len(sources) and (source := sources[at]) is not None:
                    used.add(at)
                    out.append(_citation(*source, span))
        loose = (source for at, source in enumerate(sources) if source is not None and at not in used)
        out += [_citation(*source, None) for source in loose]
    metadata = candidate.get("citationMetadata")
    if isinstance(metadata, dict):
        for item in objects(metadata.get("citationSources")) + objects(metadata.get("citations")):
            if url := text(item.get("uri")):
                out.append(_citation(url, text(item.get("title")), _span(item, parts)))
    return out


def _source(chunk: dict[str, Any]) -> tuple[str, str] | None:
    for name in ("web", "maps", "retrievedContext", "image"):
        source = chunk.get(name)
        if isinstance(source, dict) and (url := text(source.get("uri")) or text(source.get("sourceUri"))):
            return url, text(source.get("title"))
    return None


def _span(segment: dict[str, Any], parts: list[str]) -> tuple[int, int] | None:
    end = count(segment.get("endIndex"))
    if end is None:
        return None
    at = count(segment.get("partIndex")) or 0
    whole, before = "".join(parts), 0
    if 0 < at < len(parts):
        whole, before = parts[at], len("".join(parts[:at]))
    data = whole.encode("utf-8", "surrogatepass")
    start = count(segment.get("startIndex")) or 0
    return before + _characters(data[:start]), before + _characters(data[:end])


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "ignore"))


def _citation(url: str, title: str, span: tuple[int, int] | None) -> dict[str, Any]:
    citation: dict[str, Any] = {"url": url, "title": title}
    if span is not None:
        citation["start_index"], citation["end_index"] = span
    return {"type": "url_citation", "url_citation": citation}


def queries(candidate: dict[str, Any]) -> set[str]:
    """The web searches that a candidate says it ran."""
    grounding = candidate.get("groundingMetadata")
    if not isinstance(grounding, dict):
        return set()
    lists = (grounding.get(name) for name in ("webSearchQueries", "imageSearchQueries"))
    return {query for found in lists if isinstance(found, list) for query in found if isinstance(query, str)}


def fetched(candidate: dict[str, Any]) -> set[str]:
    """The URLs that the model's URL context tool read."""
    context = candidate.get("urlContextMetadata")
    found = objects(context.get("urlMetadata")) if isinstance(context, dict) else []
    return {url for item in found if (url := text(item.get("retrievedUrl")))}


def billed_searches(model: str | None, ran: int) -> int | None:
    """Searches in the unit that is billed: per query from Gemini 3 on, per grounded request before."""
    if not ran:
        return None
    return 1 if re.match(r"(?:models/)?gemini-[12]\b", model or "") else ran


# --- tool arguments in pieces -----------------------------------------------------------------------------------------

_STEP = re.compile(r"""\.([^.\[\]'"]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_DEPTH_MAX = 64
_GAP_MAX = 1024
"""how far an index may lie behind a list's end: a wild index must not allocate the memory it names"""


class PartialArgs:
    """The arguments of one call, put together from `partialArgs`: values and pieces of strings by JSON path."""

    __slots__ = ("_open", "value")

    def __init__(self, start: Any = None) -> None:
        self.value: dict[str, Any] = dict(start) if isinstance(start, dict) else {}
        self._open: str | None = None
        """path of the string that the next piece continues"""

    def add(self, pieces: Iterable[dict[str, Any]]) -> bool:
        """False if a piece does not fit: then the arguments cannot be known."""
        return all(self._piece(piece) for piece in pieces)

    def _piece(self, piece: dict[str, Any]) -> bool:
        path = piece.get("jsonPath")
        if not isinstance(path, str) or (steps := _steps(path)) is None:
            return False
        name = next((n for n in ("stringValue", "numberValue", "boolValue", "nullValue") if n in piece), None)
        if name is None:
            return True  # announces a value that follows
        value = None if name == "nullValue" else piece[name]
        slot = self._slot(steps)
        if slot is None:
            return False
        holder, key = slot
        if self._open == path and isinstance(value, str):
            before = holder.get(key) if isinstance(holder, dict) else holder[key]
            value = before + value if isinstance(before, str) else value
        holder[key] = value
        self._open = path if piece.get("willContinue") is True else None
        return True

    def _slot(self, steps: list[str | int]) -> tuple[Any, Any] | None:
        """The container that the last step lives in, made on the way where it is not there yet."""
        here: Any = self.value
        for at, step in enumerate(steps):
            if isinstance(step, int):
                if not isinstance(here, list) or step > len(here) + _GAP_MAX:
                    return None
                here += [None] * (step + 1 - len(here))
            elif not isinstance(here, dict):
                return None
            if at + 1 == len(steps):
                return here, step
            below = here.get(step) if isinstance(here, dict) else here[step]
            if below is None:
                below = [] if isinstance(steps[at + 1], int) else {}
                here[step] = below
            here = below
        return None


def _steps(path: str) -> list[str | int] | None:
    """`$.items[0]['a b']` as [items, 0, a b]; None for any other grammar and for the root itself."""
    if not path.startswith("$"):
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or len(steps) == _DEPTH_MAX:
            return None
        name, index, single, double = match.groups()
        quoted = single if single is not None else double
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(name if name is not None else re.sub(r"\\(.)", r"\1", quoted or ""))
        at = match.end()
    return steps or None


# --- plain helpers ----------------------------------------------------------------------------------------------------


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value if it is text, else the empty text."""
    return value if isinstance(value, str) else ""
