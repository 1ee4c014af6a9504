"""The command tree, and what all commands share: exit codes (0 done, 1 failed, 2 wrong usage) and short errors.

The modules of the commands are light; what is heavy they import inside their functions, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Iterator, Sequence

import cyclopts

from routebook import __version__
from routebook.cli import config, db, generation, keys, ledger, models, route
from routebook.cli.demo import demo
from routebook.cli.doctor import doctor
from routebook.cli.serve import serve

DEBUG = "ROUTEBOOK_DEBUG"

app = cyclopts.App(
    name="routebook",
    help="A self-hosted LLM router that speaks the OpenRouter API and keeps an honest book.\n\n"
    "Example: `routebook demo`, then `routebook serve`",
    version=f"routebook {__version__}",
    help_format="plaintext",  # as it stands: TOML's [[models]] is no markup
    default_parameter=cyclopts.Parameter(show_default=lambda value: value if value is not False else None),
    result_action="return_value",
)
for _group, _example in (
    (keys.app, "keys create --name laptop --limit 5"),
    (generation.app, "generation list --since 1h"),
    (ledger.app, "ledger verify"),
    (route.app, "route explain --model openai/gpt-4o-mini"),
    (config.app, "config check routebook.toml"),
    (db.app, "db upgrade"),
):
    _group.help = f"{_group.help}\n\nExample: `routebook {_example}`"
app.command(serve)
app.command(demo)
app.command(keys.app)
app.command(generation.app)
app.command(ledger.app)
app.command(route.app)
app.command(models.app)
app.command(config.app)
app.command(db.app)
app.command(doctor)


def _unfold(tree: cyclopts.App) -> None:
    """Paragraphs of the help in one line each: where the source breaks them is nothing to a terminal."""
    for name in tree:
        if not name.startswith("-"):
            command = tree[name]
            paragraphs = inspect.cleandoc(command.help).split("\n\n")
            command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
            _unfold(command)


_unfold(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; always ends in SystemExit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        with contextlib.suppress(AttributeError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    with short_errors():
        try:
            result = app(list(sys.argv[1:] if arguments is None else arguments), exit_on_error=False, print_error=False)
        except cyclopts.CycloptsError as error:
            raise SystemExit(_wrong_usage(error)) from None
        sys.stdout.flush()
        raise SystemExit(result if isinstance(result, int) else 0)


@contextlib.contextmanager
def short_errors() -> Iterator[None]:
    """Errors in one or two lines on stderr; the traceback only with ROUTEBOOK_DEBUG=1."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read our output has read enough. Python would complain at the end once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        print(f"routebook: {_told(error)}", file=sys.stderr)
        raise SystemExit(_code(error)) from None


def _code(error: Exception) -> int:
    from routebook.config.problems import ConfigError

    return 2 if isinstance(error, ConfigError) and error.source.startswith("--") else 1


def _told(error: Exception) -> str:
    from routebook.cli.problems import CannotListen, ModelFailed
    from routebook.client.errors import RoutebookError
    from routebook.config.problems import ConfigError
    from routebook.core.errors import Fault
    from routebook.daybook.folder import DaybookLocked
    from routebook.daybook.shelf import DaybookDamaged

    if isinstance(error, Fault):
        return error.message
    if isinstance(error, CannotListen | ConfigError | DaybookDamaged | DaybookLocked | ModelFailed | RoutebookError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"unexpected {what[:500]}\nSet {DEBUG}=1 for the traceback."


def _wrong_usage(error: cyclopts.CycloptsError) -> int:
    command = " ".join(["routebook", *(error.command_chain or ())])
    told = " ".join(str(error).split())
    if isinstance(error, cyclopts.MissingArgumentError) and error.argument is not None and not error.argument.tokens:
        told = f"{error.argument.name} {'is missing' if error.argument.required else 'needs a value'}"
    print(f"{command}: {told}\nTry: {command} --help", file=sys.stderr)
    return 2
