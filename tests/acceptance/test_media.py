"""The composed gateway's own way to URLs of callers: it leads to the public Internet and nowhere else."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from routebook.testing.provider import ScriptedProvider
from tests.acceptance.gateway import ADMIN_KEY, RunningGateway, bearer, configuration

BLIND = """
[[providers]]
slug = "blind"
dialect = "openai_chat"
base_url = "{url}"
api_key = "{key}"
fetches_urls = false

[[models]]
slug = "scripted/blind"
[[models.endpoints]]
provider = "blind"
upstream_model = "plain-1"
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254"])
def test_a_callers_url_does_not_lead_into_the_gateways_own_network(
    tmp_path: Path, provider: ScriptedProvider, host: str
) -> None:
    extra = BLIND.format(url=provider.base_url, key=provider.api_key)
    before = provider.requests
    with RunningGateway(tmp_path / "home", configuration(provider, extra)) as gateway:
        picture = {"type": "image_url", "image_url": {"url": f"http://{host}:{provider.port}/v1/models"}}
        asked = {"model": "scripted/blind", "messages": [{"role": "user", "content": [picture]}]}
        headers = bearer(ADMIN_KEY)
        answer = httpx2.post(f"{gateway.base}/chat/completions", json=asked, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["metadata"]["error_type"] == "image_download_failed"
        id = answer.headers["x-generation-id"]
        record = httpx2.get(f"{gateway.base}/generation", params={"id": id}, headers=headers).json()["data"]
    assert (record["routebook"]["outcome"], record["total_cost"]) == ("error", 0)
    assert provider.requests == before, "neither the provider nor the address was asked"
