"""URLs in prompts: left alone where the provider fetches them, fetched once a call where it does not."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from routebook.core.call import Call
from routebook.corridor import media
from routebook.corridor.ports import Verdict
from routebook.testing.playbook import (
    ENDED,
    Do,
    Request,
    Says,
    asked,
    begun,
    body,
    row,
)
from routebook.upstream.fetch import Fetched
from routebook.wire import codec
from tests.scenarios.pictures import CAT, DOG, GONE, GOOD, INLINE, PNG, Pictures, image, media_stage, show, user
from tests.support import (
    LIMITED_KEY,
    Stage,
    refused,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with media_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
def pictures(stage: Stage) -> Pictures:
    stage.app.fetch = pictures = Pictures()
    return pictures


# --- who gets what ----------------------------------------------------------------------------------------------------


async def test_a_provider_that_fetches_gets_the_url_itself(stage: Stage, pictures: Pictures) -> None:
    await stage.play(
        show("lab/seeing"),
        row("intent"),
        asked("acme", messages=user(image(CAT))),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    assert pictures.fetched == []


async def test_a_provider_that_does_not_fetch_gets_the_content(stage: Stage, pictures: Pictures) -> None:
    await stage.play(
        show("lab/blind", image(CAT, detail="low")),
        row("intent", num_media_prompt=1),
        asked("acme", messages=user(image(INLINE, detail="low"))),
        Says(*GOOD),
        row("done", num_media_prompt=1, losses=[]),
        begun(200),
        body(),
        ENDED,
    )
    assert pictures.fetched == [CAT]


@pytest.mark.parametrize(
    ("part", "inlined"),
    [
        (image(CAT), image(INLINE)),
        (image(CAT.upper()), image(INLINE)),
        ({"type": "video_url", "video_url": {"url": CAT}}, {"type": "video_url", "video_url": {"url": INLINE}}),
        ({"type": "input_video", "input_video": {"url": CAT}}, {"type": "input_video", "input_video": {"url": INLINE}}),
        (
            {"type": "file", "file": {"filename": "cat.pdf", "file_data": CAT}},
            {"type": "file", "file": {"filename": "cat.pdf", "file_data": INLINE}},
        ),
    ],
    ids=["image", "capitals", "video", "input_video", "file"],
)
async def test_every_part_that_can_hold_a_url_is_looked_into(
    stage: Stage, pictures: Pictures, part: dict[str, Any], inlined: dict[str, Any]
) -> None:
    await stage.play(
        show("lab/blind", part),
        row("intent"),
        asked("acme", messages=user(inlined)),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    assert len(pictures.fetched) == 1


@pytest.mark.parametrize(
    "part",
    [
        image(INLINE),
        image("ftp://pictures.example/cat.png"),
        image("gs://bucket/cat.png"),
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "text", "text": CAT},
        {"type": "input_audio", "input_audio": {"data": CAT, "format": "wav"}},
        {"type": "hologram", "hologram": {"url": CAT}},
    ],
    ids=["data", "ftp", "storage", "file id", "text", "audio", "unknown"],
)
async def test_what_is_no_url_of_the_web_is_not_fetched(stage: Stage, pictures: Pictures, part: dict[str, Any]) -> None:
    await stage.play(
        show("lab/blind", part),
        row("intent"),
        asked("acme", messages=user(part)),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    assert pictures.fetched == []


async def test_the_rest_of_the_messages_stays_as_the_caller_wrote_it(stage: Stage, pictures: Pictures) -> None:
    """Numbers to the digit, members that nobody knows, and the same URL where it is no picture."""
    before = {"role": "system", "content": "Look.", "own": {"scale": "1.10", "url": [CAT]}}
    messages = [before, {**user(image(CAT, own="kept"))[0], "name": "Ann"}]
    written = codec.encode(messages).replace(b'"1.10"', b"1.10")
    request = show("lab/blind", messages=messages)
    await stage.play(
        Request(request.body.replace(b'"1.10"', b"1.10"), request.headers),
        row("intent"),
        asked("acme"),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    assert b'"scale":1.10,' in written
    inlined = written.replace(b'{"url":"' + CAT.encode(), b'{"url":"' + INLINE.encode())
    assert b'"messages":' + inlined in stage.transport.requests[0].body


async def test_a_provider_of_another_dialect_gets_the_content_in_its_own_words(
    stage: Stage, pictures: Pictures
) -> None:
    data = b64encode(PNG).decode()
    await stage.play(show("lab/claude"), row("intent"), asked("claude"))
    source = codec.decode(stage.transport.requests[-1].body)["messages"][0]["content"][1]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": data}
    await stage.play(Says(*refused(400)), row("error"), begun(400), body(error=400), ENDED)
    await stage.play(show("lab/gemini"), row("intent"), asked("gamma"))
    part = codec.decode(stage.transport.requests[-1].body)["contents"][0]["parts"][1]
    assert part == {"inlineData": {"mimeType": "image/png", "data": data}}
    await stage.play(Says(*refused(400)), row("error"), begun(400), body(error=400), ENDED)


# --- once a call ------------------------------------------------------------------------------------------------------


async def test_a_url_that_stands_twice_is_fetched_once(stage: Stage, pictures: Pictures) -> None:
    inlined = user(image(INLINE), image(INLINE), image(INLINE))
    await stage.play(
        show("lab/blind", image(CAT), image(DOG), image(CAT)),
        row("intent", num_media_prompt=3),
        asked("acme", messages=inlined),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )
    assert pictures.fetched == [CAT, DOG]


async def test_the_next_endpoint_gets_what_was_fetched_for_the_one_before_it(stage: Stage, pictures: Pictures) -> None:
    await stage.play(
        show("lab/three"),
        row("intent"),
        asked("acme", messages=user(image(INLINE))),
        Says(*refused(500)),
        asked("beta", messages=user(image(INLINE))),
        Says(*refused(500)),
        asked("gamma", messages=user(image(CAT))),
        Says(*GOOD),
        row("done", provider_name="Gamma"),
        begun(200),
        body(),
        ENDED,
    )
    assert pictures.fetched == [CAT]


async def test_no_more_than_four_are_under_way_together(stage: Stage, pictures: Pictures) -> None:
    pictures.open.clear()
    urls = [f"https://pictures.example/{n}.png" for n in range(media.URLS_MAX)]
    await stage.play(show("lab/blind", *map(image, urls)), row("intent"))
    assert pictures.running == media.AT_ONCE == 4
    await stage.play(
        Do(pictures.open.set), asked("acme"), Says(*GOOD), row("done"), begun(200), body(), ENDED
    )  # fmt: skip
    assert sorted(pictures.fetched) == sorted(urls)
    assert pictures.most == 4


# --- what is refused --------------------------------------------------------------------------------------------------


def told(*facts: Any) -> tuple[Any, ...]:
    """The caller is told that it was their URL, and nothing is owed."""
    return (
        row("error", total_cost="0", provider_responses=None, finish_reason="error"),
        begun(400, x_generation_id=...),
        *facts,
        ENDED,
    )


async def test_a_fetch_that_fails_is_told_to_the_caller_and_nothing_is_sent(stage: Stage, pictures: Pictures) -> None:
    pictures.holds[CAT] = GONE
    await stage.play(
        show("lab/blind", key=LIMITED_KEY, max_tokens=10, messages=user(image(CAT))),
        begun(402),
        body(error=402),
        ENDED,
    )
    assert pictures.fetched == [], "a call that is not paid for fetches nothing"
    await stage.play(
        show("lab/blind"),
        row("intent"),
        *told(body(error=400, error_type="image_download_failed", message=GONE.message)),
    )
    assert stage.transport.requests == []
    assert stage.record["routebook"]["error"]["type"] == "image_download_failed"


async def test_one_fetch_that_fails_ends_the_others(stage: Stage, pictures: Pictures) -> None:
    async def fetch_(url: str) -> Fetched:
        if url == DOG:
            raise GONE
        return await pictures(url)

    pictures.open.clear()
    stage.app.fetch = fetch_
    await stage.play(
        show("lab/blind", image(CAT), image(DOG), image(CAT + "?2")),
        row("intent"),
        *told(body(error=400, error_type="image_download_failed")),
    )
    assert pictures.running == 0


async def test_a_fetch_that_fails_for_a_later_endpoint_is_told_as_well(stage: Stage, pictures: Pictures) -> None:
    pictures.holds[CAT] = GONE
    await stage.play(
        show("lab/late"),
        row("intent"),
        asked("acme", messages=user(image(CAT))),
        Says(*refused(500)),
        row("error", total_cost="0"),
        begun(400),
        body(error=400, error_type="image_download_failed"),
        ENDED,
    )
    assert len(stage.transport.requests) == 1


@pytest.mark.parametrize(
    "kind",
    ["", "text/html", "application/json", "application/octet-stream", "image", "image/", "image/a,b", "ximage/png"],
)
async def test_content_that_is_no_medium_is_refused(stage: Stage, pictures: Pictures, kind: str) -> None:
    pictures.holds[CAT] = Fetched(kind, PNG)
    await stage.play(
        show("lab/blind"),
        row("intent"),
        *told(body(error=400, error_type="image_download_failed", metadata=...)),
    )
    assert stage.transport.requests == []
    said = codec.decode(stage.playbook.caller.received)["error"]
    assert "pictures.example" in said["message"]
    assert "data URL" in said["message"]
    assert said["metadata"]["host"] == "pictures.example"


@pytest.mark.parametrize("kind", ["image/svg+xml", "audio/mpeg", "video/mp4", "application/pdf", "text/plain"])
async def test_other_media_than_pictures_are_sent_on_as_what_they_are(
    stage: Stage, pictures: Pictures, kind: str
) -> None:
    pictures.holds[CAT] = Fetched(kind, b"abc")
    part = {"type": "file", "file": {"file_data": CAT}}
    await stage.play(
        show("lab/blind", part),
        row("intent"),
        asked("acme", messages=user({"type": "file", "file": {"file_data": f"data:{kind};base64,YWJj"}})),
        Says(*GOOD),
        row("done"),
        begun(200),
        body(),
        ENDED,
    )


async def test_more_urls_than_one_call_may_have_are_refused_unfetched(stage: Stage, pictures: Pictures) -> None:
    urls = [f"https://pictures.example/{n}.png" for n in range(media.URLS_MAX + 1)]
    await stage.play(
        show("lab/blind", *map(image, urls)),
        row("intent"),
        *told(body(error=400, error_type="invalid_request")),
    )
    assert pictures.fetched == []


async def test_what_all_urls_hold_together_has_a_limit(
    stage: Stage, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "TOTAL_BYTES", 2 * len(PNG))
    good = (row("intent"), asked("acme"), Says(*GOOD), row("done"), begun(200), body(), ENDED)
    await stage.play(show("lab/blind", image(CAT), image(DOG)), *good)
    await stage.play(
        show("lab/blind", image(CAT), image(DOG), image(CAT + "?2")),
        row("intent"),
        *told(body(error=400, error_type="image_download_failed")),
    )
    assert "more than 16 bytes" in codec.decode(stage.playbook.caller.received)["error"]["message"]


async def test_a_flagged_prompt_has_nothing_fetched_for_it(stage: Stage, pictures: Pictures) -> None:
    class Flags:
        async def check(self, call: Call) -> Verdict:
            return Verdict(True, ("violence",))

    stage.app.moderator = Flags()
    await stage.play(show("lab/strict"), row("intent"), row("blocked"), begun(403), body(error=403), ENDED)
    assert pictures.fetched == []


async def test_a_mistake_of_ours_in_a_fetch_is_a_500(stage: Stage, pictures: Pictures) -> None:
    pictures.holds[CAT] = RuntimeError("a mistake with a secret in it")
    await stage.play(
        show("lab/blind"), row("intent"), row("error"), begun(500), body(error=500, error_type="server"), ENDED
    )
    assert b"secret" not in stage.playbook.caller.received
