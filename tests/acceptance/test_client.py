"""The project's own typed client against the whole gateway, blocking and asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from routebook.client import AsyncRoutebook, Routebook, errors
from routebook.testing.provider import ScriptedProvider
from tests.acceptance.conftest import FLAGGED
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(gateway: RunningGateway, key: str) -> Iterator[Routebook]:
    with Routebook(api_key=key, base_url=gateway.base) as opened:
        yield opened


@pytest.fixture
def operator(gateway: RunningGateway) -> Iterator[Routebook]:
    with Routebook(api_key=ADMIN_KEY, base_url=gateway.base) as opened:
        yield opened


def billed(provider: ScriptedProvider, upstream_id: str | None) -> Decimal:
    return next(item.cost for item in provider.bill if item.id == upstream_id)


def test_a_chat_and_its_record_agree_with_the_provider(client: Routebook, provider: ScriptedProvider) -> None:
    answer = client.chat.send(
        model="scripted/cached", messages=said("Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]"), user="u-1"
    )
    assert answer.text
    assert answer.usage is not None
    assert answer.generation_id is not None
    record = client.generations.get(answer.generation_id).data
    assert record.id == answer.generation_id
    assert record.model == answer.model == "scripted/cached"
    assert record.provider_name == "Infermatic"
    assert (record.native_tokens_prompt, record.native_tokens_completion) == (90, 20)
    assert (record.native_tokens_cached, record.native_tokens_reasoning) == (40, 5)
    assert record.external_user == "u-1"
    assert record.upstream_inference_cost == billed(provider, record.upstream_id)
    assert (
        record.total_cost == record.usage == answer.usage.cost == billed(provider, record.upstream_id) * Decimal("1.25")
    )
    assert record.streamed is False
    assert record.finish_reason == "stop"
    assert record.routebook is not None
    assert record.provider_responses is not None
    assert record.provider_responses[0].status == 200


def test_a_stream_and_its_record_agree_with_the_provider(client: Routebook, provider: ScriptedProvider) -> None:
    with client.chat.send(
        model="scripted/plain", messages=said("Go. [[completion=9 pieces=4]]"), stream=True
    ) as stream:
        text = "".join(chunk.text for chunk in stream)
    assert len(text.split()) == 4
    assert stream.generation_id is not None
    record = client.generations.get(stream.generation_id).data
    assert record.streamed is True
    assert stream.usage is not None
    assert stream.usage.cost == record.total_cost
    assert record.upstream_inference_cost == billed(provider, record.upstream_id)


def test_the_catalogue_is_read(client: Routebook) -> None:
    models = {model.id: model for model in client.models.list().data}
    cached = models["scripted/cached"]
    assert cached.pricing is not None
    assert cached.pricing.prompt == Decimal("0.0000025")
    endpoints = client.models.endpoints("scripted", "fallback").data.endpoints
    assert [endpoint.provider_name for endpoint in endpoints or ()] == ["Infermatic", "Novita"]


def test_keys_are_made_changed_and_deleted(operator: Routebook, gateway: RunningGateway) -> None:
    made = operator.keys.create(name="mine", limit=Decimal("0.05"), limit_reset="daily")
    assert made.key is not None
    hash = made.data.hash
    assert hash is not None
    with Routebook(api_key=made.key, base_url=gateway.base) as mine:
        mine.chat.send(model="scripted/plain", messages=said("Hi. [[prompt=1000 completion=100]]"))
        current = mine.keys.current().data
        assert current.usage == Decimal("0.0002625")
        assert current.limit_remaining == Decimal("0.0497375")
    assert operator.keys.get(hash).data.usage == Decimal("0.0002625")
    assert operator.keys.update(hash, disabled=True).data.disabled is True
    assert hash in {key.hash for key in operator.keys.list(include_disabled=True).data}
    assert operator.keys.delete(hash).deleted is True
    with pytest.raises(errors.NotFound):
        operator.keys.get(hash)


def test_credits_grow_with_what_is_spent(client: Routebook, operator: Routebook) -> None:
    before = operator.credits.get().data.total_usage
    answer = client.chat.send(model="scripted/plain", messages=said("Hi."))
    after = operator.credits.get().data.total_usage
    assert answer.usage is not None
    assert before is not None
    assert after is not None
    assert answer.usage.cost is not None
    assert after - before == answer.usage.cost > 0


FAULTS: dict[type[errors.RoutebookError], dict[str, Any]] = {
    errors.BadRequest: {"messages": said("Hi."), "temperature": 9},
    errors.Forbidden: {"messages": said(f"Say {FLAGGED}."), "model": "scripted/moderated"},
    errors.NotFound: {"messages": said("Hi."), "provider": {"only": ["nobody"]}},
    errors.RateLimited: {"messages": said("Hi. [[status=429]]")},
    errors.ProviderUnavailable: {"messages": said("Hi. [[status=401]]")},
    errors.ProviderOverloaded: {"messages": said("Hi. [[status=500]]")},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_each_fault_is_its_typed_error(client: Routebook, kind: type[errors.RoutebookError], stream: bool) -> None:
    with pytest.raises(kind) as raised:
        client.chat.send(**{"model": "scripted/plain", **FAULTS[kind]}, stream=stream)
    assert type(raised.value) is kind
    if raised.value.generation_id is not None:
        assert client.generations.get(raised.value.generation_id).data.total_cost == 0


def test_keys_that_may_not_call_are_typed_errors(gateway: RunningGateway) -> None:
    for api_key, kind in ((gateway.new_key(limit=0), errors.PaymentRequired), ("sk-rb-v1-x", errors.Unauthorized)):
        with Routebook(api_key=api_key, base_url=gateway.base) as client, pytest.raises(kind) as raised:
            client.chat.send(model="scripted/plain", messages=said("Hi."))
        assert api_key not in str(raised.value)


def test_an_error_in_a_stream_is_typed_and_names_its_record(client: Routebook) -> None:
    with (
        client.chat.send(model="scripted/plain", messages=said("Fail. [[error=2 pieces=4]]"), stream=True) as stream,
        pytest.raises(errors.ServerError) as raised,
    ):
        for _ in stream:
            pass
    assert raised.value.generation_id == stream.generation_id
    assert stream.generation_id is not None
    assert client.generations.get(stream.generation_id).data.finish_reason == "error"


def test_a_stream_left_early_is_cancelled_on_the_book(
    client: Routebook, gateway: RunningGateway, provider: ScriptedProvider
) -> None:
    messages = said("Go on. [[hang=2 pieces=4]]")
    with client.chat.send(model="scripted/plain", messages=messages, stream=True) as stream:
        next(stream)
    id = stream.generation_id
    assert id is not None
    gateway.until(lambda: all(entry.intent.id != id for entry in gateway.gateway.app.entries))
    record = client.generations.get(id).data
    assert record.cancelled is True
    assert record.upstream_id is not None
    assert provider.broke_off(record.upstream_id).whole is False


def test_the_asynchronous_client_does_the_same(gateway: RunningGateway, key: str) -> None:
    async def work() -> None:
        async with AsyncRoutebook(api_key=key, base_url=gateway.base) as client:
            answer = await client.chat.send(model="scripted/plain", messages=said("Hi."))
            assert answer.generation_id is not None
            stream = await client.chat.send(
                model="scripted/plain", messages=said("Go. [[completion=9 pieces=4]]"), stream=True
            )
            async with stream:
                text = "".join([chunk.text async for chunk in stream])
            assert len(text.split()) == 4
            for id in (answer.generation_id, stream.generation_id):
                assert id is not None
                assert (await client.generations.get(id)).data.finish_reason == "stop"
            assert (await client.models.list()).data
            assert (await client.keys.current()).data.usage

    asyncio.run(work())
