"""Writes answers to callers of the responses API: a stream of numbered events that ends in `[DONE]`, or one body.

What a provider of another dialect said is put together item by item (`output`), what one of this dialect said goes
through (`splice`). The end of an answer is written last, when its record is durable: usage and cost stand in it, also
where it failed. Source: inference API, sections 4, 14 and 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routebook.core.call import Call
from routebook.core.errors import Fault
from routebook.core.events import Counted, Delta, Event, Failed, Finish, Plain, Start, Whole
from routebook.core.ids import Mint
from routebook.dialects.base import Receipt, Stamp
from routebook.dialects.openai_responses import envelope, sealed
from routebook.dialects.openai_responses.output import Output
from routebook.dialects.openai_responses.parts import NAME
from routebook.dialects.openai_responses.splice import Splice
from routebook.dialects.openai_responses.tools import Made, made_of
from routebook.wire import codec, sse

KEEPALIVE = b": ROUTEBOOK PROCESSING\n\n"

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesWriter:
    """One answer, streamed or not; see dialects.base.Writer."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._streamed = call.stream
        self.content_type = "text/event-stream" if call.stream else "application/json"
        wish = call.chat.reasoning
        self._exclude = wish is not None and wish.exclude
        self._stamp = Stamp("", 0, "", None)
        self._id = ""
        self._repeated: dict[str, Any] | None = None
        self._frames: list[bytes] = []
        self._number = 0
        self._begun = False
        self._tier: str | None = None
        self._finish: Finish | None = None
        self._fault: Fault | None = None
        self._splice: Splice | None = None
        self._output: Output | None = None
        self._made: Mapping[str, Made] | None = None
        self._text_at: tuple[str, int, int] | None = None
        self._text_head = b""

    def start(self, stamp: Stamp) -> None:
        """Who answers."""
        self._stamp = stamp
        self._id = envelope.response_id(stamp)

    def feed(self, event: Event) -> bytes:
        """The events that this one makes, nothing where the answer is not streamed."""
        if isinstance(event, Whole):
            for part in event.parts():
                self._take(part)
        else:
            self._take(event)
        return self._flush()

    def fault(self, fault: Fault) -> bytes:
        """Remembered: `end` says it, with what the answer cost."""
        self._fault = fault
        return b""

    def end(self, receipt: Receipt) -> bytes:
        """The end of the answer: what is open is closed, and the whole response said once more."""
        self._begin()
        status, members = self._outcome()
        if self._splice is not None:
            whole = self._splice.members() | members
        else:
            output = self._slow()
            output.close("incomplete" if status == "incomplete" else "completed")
            whole = {"output": output.items, "output_text": output.text(), **members}
            if self._tier is not None:
                whole["service_tier"] = self._tier
        whole["usage"] = envelope.usage_object(receipt)
        if receipt.routing is not None:
            whole["openrouter_metadata"] = receipt.routing
        body = self._whole({**whole, "status": status})
        if not self._streamed:
            return codec.encode(body)
        self._emit(f"response.{status}", {"response": body})
        return self._flush() + sse.DONE

    def keepalive(self) -> bytes:
        """A comment; nothing where the body is one JSON value."""
        return KEEPALIVE if self._streamed else b""

    def _take(self, event: Event) -> None:
        match event:
            case Plain():
                self._plain(event)
            case Delta():
                self._delta(event)
            case Finish():
                if event.index == 0:
                    self._finish = event
            case Start():
                self._tier = event.service_tier or self._tier
            case Counted() | Failed():
                pass

    # --- ways ---------------------------------------------------------------------------------------------------------

    def _delta(self, event: Delta) -> None:
        if event.index:
            return  # the API has one answer
        native = event.native
        if native is not None and native.dialect != NAME:
            native = None  # another dialect's words; the event says the same canonically
        if self._splice is None and self._output is None and native is not None and self._passes(native.kind):
            self._begun = True
            self._splice = Splice(self._write, self._emit, self._next, self._whole)
        if self._splice is not None:
            if native is not None:
                self._splice.add(native)
            return
        self._slow().delta(event)

    def _passes(self, kind: str) -> bool:
        """Whether the provider's own words can be passed on: from the first event on, or as one body."""
        if self._exclude:
            return False
        return kind == "response.created" if kind else not self._streamed

    def _slow(self) -> Output:
        if self._output is None:
            self._begin()
            seed = self._stamp.id.rpartition("-")[2]
            mint = Mint(self._stamp.created, seed)
            self._output = Output(mint, self._emit, self._names, self._exclude, sealed.wanted(self._call))
        return self._output

    def _plain(self, event: Plain) -> None:
        if event.index:
            return
        pieces = event.texts
        if self._splice is not None:
            where = self._splice.open_text
        else:
            output = self._slow()
            where = output.open_text()
            if where is None:
                output.plain(Plain(0, pieces[:1], 0, 0))
                pieces, where = pieces[1:], output.open_text()
            output.keep(pieces)
        if not self._streamed or where is None:
            return
        if where != self._text_at:
            item_id, place, part = where
            known = {"type": "response.output_text.delta", "item_id": item_id, "output_index": place}
            self._text_head = (
                b"data: " + codec.encode({**known, "content_index": part})[:-1] + b',"logprobs":[],"delta":"'
            )
            self._text_at = where
        head, number = self._text_head, self._number
        for piece in pieces:
            self._frames.append(b'%b%b","sequence_number":%d}\n\n' % (head, piece, number))
            number += 1
        self._number = number

    def _outcome(self) -> tuple[str, dict[str, Any]]:
        """(status, the members that say why)."""
        fault = self._fault
        if fault is not None:
            if fault.error_type in envelope.LENGTH:
                return "incomplete", {"error": None, "incomplete_details": {"reason": "max_output_tokens"}}
            return "failed", {**envelope.failure(fault), "incomplete_details": None}
        if self._splice is not None:
            return self._splice.status, {"error": None}
        reason = self._finish.reason if self._finish is not None else "stop"
        refused = self._output is not None and self._output.refused
        if reason == "error":
            kind = {"error": {"code": "server_error", "message": "The model ended its answer with an error."}}
            return "failed", {**kind, "error_type": "server"}
        if reason in _INCOMPLETE and not (reason == "content_filter" and refused):
            return "incomplete", {"error": None, "incomplete_details": {"reason": _INCOMPLETE[reason]}}
        return "completed", {"error": None, "incomplete_details": None}

    def _names(self) -> Mapping[str, Made]:
        """What the functions of the call were in the caller's words."""
        if self._made is None:
            self._made = made_of(self._call.raw) if self._call.surface == NAME else {}
        return self._made

    # --- events -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        for kind in ("response.created", "response.in_progress"):
            self._emit(kind, {"response": self._whole({})})

    def _whole(self, members: Mapping[str, Any]) -> dict[str, Any]:
        if self._repeated is None:
            self._repeated = envelope.echo(self._call)
        return envelope.response(self._stamp, self._id, self._repeated, members)

    def _next(self) -> int:
        return self._number

    def _emit(self, kind: str, members: dict[str, Any]) -> None:
        if self._streamed:
            frame = codec.encode({"type": kind, **members, "sequence_number": self._number})
            self._write(frame)

    def _write(self, data: bytes) -> None:
        if self._streamed:
            self._frames.append(b"data: " + data + b"\n\n")
            self._number += 1

    def _flush(self) -> bytes:
        frames, self._frames = self._frames, []
        return b"".join(frames)
