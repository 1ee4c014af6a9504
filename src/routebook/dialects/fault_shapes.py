"""The shapes in which providers write errors and retry delays, and the masking of what is shown of them.

Error bodies come in a dozen shapes, and a custom base URL says nothing about who answers, so all shapes are read
whatever the dialect. What they mean is decided in `dialects.faults`; dialects import that, not this.

Sources, read 2026-11: OpenAI "Error codes"; Anthropic "Errors" and "Rate limits"; Google `google.rpc.Status` with
ErrorInfo, QuotaFailure and RetryInfo; Mistral and FastAPI validation bodies; OpenRouter "Errors"; RFC 9110 section
10.2.3 (Retry-After).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from routebook.wire import codec

RETRY_MAX = 30 * 86_400.0
"""a retry delay beyond this many seconds is nonsense and is not passed on"""
LOOKED_AT = 8192
"""characters of a provider's text that are searched and masked; the rest is not shown anyway"""

MASK = "[masked]"

_SECRETS = re.compile(
    r"""
    -----BEGIN[ A-Z]*KEY-----.*?(?:-----END[ A-Z]*KEY-----|\Z)   # PEM
    | \b(?:Bearer|Basic)\s+[^\s"',;]+                            # an auth header echoed
    | \beyJ[\w-]{8,}(?:\.[\w-]+){0,2}                            # a JSON web token
    | \bAIza[\w-]{6,} | \bya29\.[\w.-]+ | \b(?:AKIA|ASIA)[A-Z0-9]{8,}
    | \b(?:sk|pk|rk|gsk|csk|xai|hf|fw|fpk|nvapi|pplx|tgp|r8|gh[pousr]|glpat|key)[-_][\w*.+/=…-]{4,}
    | (?<=key=)[^&\s"']+
    | (?<=token=)[^&\s"']+
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
# A long run after the word key, token or secret, with a few words or signs between ("API key provided: 0123…").
_NAMED = re.compile(
    r"(\b(?:api[ _-]?)?(?:key|token|secret|password|credential)s?\b[^\n]{0,40}?[\s\"'`:=(\[{])([\w*+/=.…-]{16,})",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text with everything that looks like a credential replaced."""
    return _NAMED.sub(_mask_run, _SECRETS.sub(MASK, text[:LOOKED_AT]))


def _mask_run(match: re.Match[str]) -> str:
    run = match.group(2)
    # Plain words such as `authentication_error` are no credential; runs with digits or stars are.
    secret = any(c.isdigit() or c in "*…" for c in run)
    return match.group(1) + (MASK if secret else run)


class Told(msgspec.Struct, frozen=True):
    """What an error body says, whatever its shape."""

    message: str | None = None
    codes: tuple[str, ...] = ()
    """the provider's codes, types and statuses as text, most specific first"""
    status: int | None = None
    """an HTTP status named inside the body"""
    delay: float | None = None
    """seconds until a retry, where the body says so"""
    limit: str | None = None
    """rate, quota or day: what was exhausted, where the body says so"""
    flagged: bool = False
    """the caller's input was refused by moderation"""


# --- which words ------------------------------------------------------------------------------------------------------


def first_event(body: bytes) -> Any:
    """The JSON of the first event, None without one: some providers answer an error status with an event."""
    for line in body[:LOOKED_AT].splitlines():
        if line.startswith(b"data:"):
            try:
                return codec.decode(line[5:])
            except (codec.DecodeError, RecursionError):
                return None
    return None


def told(value: Any, depth: int = 0) -> Told:
    """What a decoded error body says; empty for anything that is no error body. Never raises."""
    if depth > 4:
        return Told()
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str):
        return Told(message=value)
    if not isinstance(value, dict):
        return Told()
    error = value.get("error") or value.get("detail") or value.get("errors") or value.get("fault")
    if isinstance(error, list):
        return _from_list(value, error)
    if isinstance(error, str):
        outer = value.get("code"), value.get("error_type"), value.get("type"), value.get("status")
        return Told(message=error, codes=_texts(*outer), status=_status(value))
    inner = error if isinstance(error, dict) else value
    if isinstance(nested := inner.get("error"), (dict, str)) and inner is not value:
        return told(inner if isinstance(nested, str) else nested, depth + 1)  # {"detail": {"error": …}}
    return _from_dict(inner, value, depth)


def _from_list(value: dict[str, Any], items: list[Any]) -> Told:
    """`detail` of a validation answer, `errors` of a gateway, `error` as a list of sentences."""
    lines: list[str] = []
    codes: list[Any] = [value.get("code")]
    for item in items[:5]:
        if isinstance(item, dict):
            place = ".".join(str(part) for part in _list(item.get("loc")))
            text = item.get("msg") or item.get("message") or ""
            lines.append(f"{place}: {text}" if place else str(text))
            codes += [item.get("code"), item.get("type")]
        else:
            lines.append(str(item))
    return Told(message="; ".join(line for line in lines if line) or None, codes=_texts(*codes), status=_status(value))


def _from_dict(inner: dict[str, Any], outer: dict[str, Any], depth: int) -> Told:
    metadata = inner.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    message = inner.get("message") or inner.get("Message") or inner.get("msg") or outer.get("message")
    if isinstance(message, dict):  # Mistral: {"object": "error", "message": {"detail": [...]}}
        message = told(message, depth + 1).message
    message = message if isinstance(message, str) else None
    if message in (None, "Provider returned error") and isinstance(within := metadata.get("raw"), str):
        message = _embedded(within[:LOOKED_AT], depth) or message
    codes = _texts(
        metadata.get("error_type"),
        inner.get("error_type"),
        *_reasons(inner.get("details")),
        inner.get("code"),
        inner.get("type"),
        inner.get("status"),
        inner.get("__type"),
        outer.get("type") if outer is not inner else None,
    )
    delay, limit = _details(inner.get("details"))
    text = f"{' '.join(codes)} {message or ''}".lower()
    if delay is None and (found := _TRY_AGAIN.search(message or "")):
        delay = _duration(found.group(1))
    if limit is None:
        if "per day" in text or "perday" in text or "daily" in text or re.search(r"\b[tr]pd\b", text):
            limit = "day"
        elif "quota" in text or "insufficient" in text or "credit" in text or "balance" in text:
            limit = "quota"
    flagged = bool(metadata.get("reasons") or metadata.get("flagged_input")) or "content_filter" in codes
    return Told(message, codes, _status(inner) or _status(outer), delay, limit, flagged)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _embedded(text: str, depth: int) -> str | None:
    try:
        return told(codec.decode(text), depth + 1).message
    except (codec.DecodeError, RecursionError):
        return text


def _texts(*values: Any) -> tuple[str, ...]:
    """The codes among the values as text; `error` and `list` say nothing."""
    out: list[str] = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            continue
        text = str(value).rpartition("#")[2]
        if text and len(text) <= 80 and text not in ("error", "list") and text not in out:
            out.append(text)
    return tuple(out)


def _status(value: dict[str, Any]) -> int | None:
    for name in ("status_code", "code", "status", "http_status", "raw_status_code"):
        number = value.get(name)
        if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) == 3:
            number = int(number)
        if isinstance(number, int) and not isinstance(number, bool) and 300 <= number <= 599:
            return number
    return None


def _reasons(details: Any) -> list[Any]:
    found = details if isinstance(details, list) else []
    return [item.get("reason") for item in found if isinstance(item, dict)]


def _details(details: Any) -> tuple[float | None, str | None]:
    """Delay and exhausted limit out of google.rpc details (RetryInfo, QuotaFailure)."""
    delay: float | None = None
    limit: str | None = None
    for item in details if isinstance(details, list) else ():
        if not isinstance(item, dict):
            continue
        if isinstance(text := item.get("retryDelay"), str):
            delay = _duration(text)
        violations = item.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            name = str(violation.get("quotaId", "")) if isinstance(violation, dict) else ""
            if "PerDay" in name:
                limit = "day"
            elif name and limit is None:
                limit = "rate"
    return delay, limit


# --- when again -------------------------------------------------------------------------------------------------------

_SPAN = r"\d+(?:\.\d+)? ?(?:ms|h(?:ours?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?![a-z])"
_TRY_AGAIN = re.compile(rf"(?:try again|retry) in ((?:{_SPAN} ?)+)", re.IGNORECASE)
_WHOLE = re.compile(rf"\s*(?:{_SPAN}\s*)+", re.IGNORECASE)
_DURATION = re.compile(r"([\d.]+) ?(ms|h|m|s)", re.IGNORECASE)
_SCALE = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def retry_after(headers: Mapping[str, str], told: float | None = None) -> float | None:
    """Seconds until a retry makes sense, None if nobody said so. Header names are lower case.

    In order: `retry-after-ms`, `retry-after` (seconds or an HTTP date), what the body told, the reset of a limit of
    which nothing remains. Dates are compared with the answer's own `date`: this room has no clock.
    """
    if (number := _seconds(headers.get("retry-after-ms"))) is not None:
        return _sane(number / 1000)
    if (text := headers.get("retry-after")) is not None:
        number = _seconds(text)
        delay = _sane(number) if number is not None else _until(_http_date(text), headers)
        if delay is not None:
            return delay
    if told is not None:
        return _sane(told)
    resets: list[float] = []
    for name, value in headers.items():
        if "ratelimit" not in name or "remaining" not in name or value.strip() != "0":
            continue
        reset = headers.get(name.replace("remaining", "reset"))
        delay = _reset(reset, headers) if reset else None
        if delay is not None:
            resets.append(delay)
    return max(resets) if resets else None


def _reset(text: str, headers: Mapping[str, str]) -> float | None:
    """A reset as providers write it: `6m0s`, `12.5` (seconds from now) or an RFC 3339 time."""
    if (number := _seconds(text)) is not None:
        return _sane(number)
    if (span := _duration(text)) is not None:
        return _sane(span)
    try:
        return _until(datetime.fromisoformat(text.strip()), headers)
    except ValueError:
        return None


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _duration(text: str) -> float | None:
    if len(text) > 40 or not _WHOLE.fullmatch(text):
        return None
    try:
        return sum(float(number) * _SCALE[unit.lower()] for number, unit in _DURATION.findall(text))
    except ValueError:
        return None


def _http_date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None


def _until(then: datetime | None, headers: Mapping[str, str]) -> float | None:
    now = _http_date(headers.get("date", ""))
    if then is None or now is None or (then.tzinfo is None) != (now.tzinfo is None):
        return None
    return _sane(max(0.0, (then - now).total_seconds()))


def _sane(delay: float) -> float | None:
    return delay if 0 <= delay <= RETRY_MAX else None
