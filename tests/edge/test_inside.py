"""What workers of one host say to each other, over their sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from routebook.core.errors import Unavailable
from routebook.daybook import folder
from routebook.edge.inside import SOCKET_NAME, Inside, Neighbours, Unreachable, Verb

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def daybook(home: Path, name: str = "aaa") -> Path:
    path = folder.root(home) / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@asynccontextmanager
async def inside(home: Path, name: str = "aaa", **verbs: Verb) -> AsyncIterator[Path]:
    server = Inside(daybook(home, name), verbs)
    await server.start()
    try:
        yield daybook(home, name) / SOCKET_NAME
    finally:
        await server.close()


async def echo(asked: Mapping[str, str]) -> Mapping[str, Any]:
    return {"heard": dict(asked)}


async def test_a_verb_is_asked_for_and_answered(tmp_path: Path) -> None:
    async with inside(tmp_path, echo=echo):
        answer = await Neighbours(tmp_path).ask("aaa", "echo", id="gen-1", note="über\n")
    assert answer == {"heard": {"verb": "echo", "id": "gen-1", "note": "über\n"}}


async def test_the_socket_is_the_owners_alone_and_goes_with_its_worker(tmp_path: Path) -> None:
    async with inside(tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_folder_with_a_long_name_has_one_too(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    async with inside(home, echo=echo) as path:
        assert len(os.fsencode(path)) > 108
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await Neighbours(home).ask("aaa", "echo")
    assert not path.exists()


async def test_what_a_dead_owner_left_is_replaced(tmp_path: Path) -> None:
    path = daybook(tmp_path) / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    assert path.exists()
    with pytest.raises(Unreachable):
        await Neighbours(tmp_path).ask("aaa", "echo")
    async with inside(tmp_path, echo=echo):
        assert await Neighbours(tmp_path).ask("aaa", "echo")


@pytest.mark.parametrize("name", ["aaa", "zzz"])
async def test_who_is_not_there_is_unreachable(tmp_path: Path, name: str) -> None:
    daybook(tmp_path)
    with pytest.raises(Unreachable, match=name):
        await Neighbours(tmp_path).ask(name, "echo")


async def test_who_is_stuck_is_not_waited_for(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def stuck(asked: Mapping[str, str]) -> Mapping[str, Any]:
        await never.wait()
        return {}

    async with inside(tmp_path, echo=stuck):
        with pytest.raises(Unreachable, match="too late"):
            await Neighbours(tmp_path).ask("aaa", "echo", seconds=0.05)
        never.set()


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b'{"verb":1}\n', b'{"verb":"other"}\n', b"{}\n"])
async def test_what_is_no_request_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    async with inside(tmp_path, echo=echo) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        assert (await reader.readline()).startswith(b'{"error":')
        writer.close()


async def test_a_line_without_an_end_is_dropped_and_the_next_one_served(tmp_path: Path) -> None:
    async with inside(tmp_path, echo=echo) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * 200_000)
        assert await reader.read() == b""
        writer.close()
        assert await Neighbours(tmp_path).ask("aaa", "echo")


async def test_a_verb_that_fails_says_so_and_harms_nobody(tmp_path: Path) -> None:
    async def broken(asked: Mapping[str, str]) -> Mapping[str, Any]:
        raise ValueError("broken")

    async with inside(tmp_path, echo=echo, broken=broken):
        with pytest.raises(Unreachable, match="ValueError: broken"):
            await Neighbours(tmp_path).ask("aaa", "broken")
        assert await Neighbours(tmp_path).ask("aaa", "echo")


async def test_money_is_called_back_from_all_who_have_some_and_the_dead_are_passed_over(tmp_path: Path) -> None:
    asked: list[str] = []

    def gives(amount: str) -> Verb:
        async def recall(request: Mapping[str, str]) -> Mapping[str, Any]:
            asked.append(request["budget"])
            return {"given": amount}

        return recall

    async with inside(tmp_path, "aaa", recall=gives("0")), inside(tmp_path, "bbb", recall=gives("1.5")):
        there = Neighbours(tmp_path)
        assert await there.recall(["aaa", "bbb", "zzz"], "key:a")
        assert not await there.recall(["aaa", "zzz"], "key:a")
    assert asked == ["key:a"] * 3


async def test_cancelling_elsewhere_says_whether_it_stops_or_that_nobody_is_there(tmp_path: Path) -> None:
    async def stop(request: Mapping[str, str]) -> Mapping[str, Any]:
        return {"stops": request["id"] == "gen-1"}

    async with inside(tmp_path, cancel=stop):
        assert await Neighbours(tmp_path).cancel("aaa", "gen-1")
        assert not await Neighbours(tmp_path).cancel("aaa", "gen-2")
    with pytest.raises(Unavailable):
        await Neighbours(tmp_path).cancel("aaa", "gen-1")
