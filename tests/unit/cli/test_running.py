"""A gateway whose disk refused a sync ends, so that a successor reads what the disk really has."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from routebook.cli.running import served
from routebook.compose import Gateway
from routebook.load.settings import load_settings


@pytest.mark.anyio
async def test_after_a_refused_sync_the_gateway_ends_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "routebook.toml"
    config.write_text("[catalog]\nprice_list = false\n[accounting]\nreference_tokens = false\n", "utf-8")
    environ = {"ROUTEBOOK_HOME": str(tmp_path / "home"), "ROUTEBOOK_ADMIN_KEY": "k" * 40}
    gateway = Gateway(load_settings(config, environ), environ)

    async with served(gateway, [0]) as running:
        waiting = asyncio.ensure_future(running.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        gateway._daybook._keeper.fail(OSError(errno.EIO, "Input/output error"))
        await asyncio.wait_for(waiting, 10)

    assert "the disk refused a sync of the daybook (Input/output error): this process ends" in caplog.text
