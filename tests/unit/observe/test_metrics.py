"""What Prometheus is told: a sample a model and provider, and an end to their number."""

from __future__ import annotations

from routebook.core.generation import State
from routebook.observe.metrics import OTHERS, UNLISTED_MOST, Metrics
from tests.unit.daybook.samples import intent, outcome


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Settled generations by model and provider."""
    return {
        (sample.labels["model"], sample.labels["provider"]): sample.value
        for family in metrics.collect()
        if family.name == "routebook_generations"
        for sample in family.samples
    }


def test_names_that_callers_think_up_share_a_label_beyond_a_hundred_and_listed_models_keep_theirs() -> None:
    metrics = Metrics({"acme/large", "acme/late"}.__contains__)
    call = intent(1)
    for number in range(UNLISTED_MOST + 50):
        metrics.settled(call, outcome(model=f"ollama/invented-{number}", provider_name="Ollama"), State.ERROR)
        metrics.settled(call, outcome(), State.DONE)
    metrics.settled(call, outcome(model="ollama/invented-0", provider_name="Ollama"), State.ERROR)
    metrics.settled(call, outcome(model="acme/late"), State.DONE)
    found = counted(metrics)
    assert len(found) == UNLISTED_MOST + 3
    assert found[OTHERS, "Ollama"] == 50
    assert found["ollama/invented-0", "Ollama"] == 2
    assert found["acme/large", "Acme"] == UNLISTED_MOST + 50
    assert found["acme/late", "Acme"] == 1
