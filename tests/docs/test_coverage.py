"""The pages have an entry for everything there is, and for nothing that is not there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args

import cyclopts
import msgspec
import pytest

import routebook.client as client_package
from routebook.cli.main import DEBUG, app
from routebook.config import settings
from routebook.core import errors
from routebook.core.call import Loss
from routebook.core.errors import Fault, UpstreamFault
from routebook.core.generation import Folded, State
from routebook.dialects import registry
from routebook.load.catalog import known_vendors
from routebook.load.settings import _CLIENT_VARIABLES, VARIABLES
from routebook.metering.record import record
from routebook.observe.metrics import Metrics
from tests.docs import pages
from tests.docs.pages import ROOT
from tests.unit.daybook.samples import attempt, charge, intent, outcome
from tests.unit.metering.test_revision import revised

PROJECT = tomllib.loads(pages.read("pyproject.toml"))

# --- settings

TABLES: dict[str, type[msgspec.Struct]] = {
    "[server]": settings.Server,
    "[store]": settings.StoreTable,
    "[accounting]": settings.AccountingTable,
    "[[providers]]": settings.ProviderTable,
    "[[models]]": settings.ModelTable,
    "[[models.endpoints]]": settings.EndpointTable,
    "[models.endpoints.pricing]": settings.PricingTable,
    "[timeouts]": settings.Timeouts,
    "[limits]": settings.Limits,
    "[catalog]": settings.CatalogTable,
    "[routing]": settings.RoutingTable,
    "[idempotency]": settings.IdempotencyTable,
}


def structs(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """The tables below a table."""
    found: set[type[msgspec.Struct]] = set()
    for field in msgspec.structs.fields(kind):
        for form in (field.type, *get_args(field.type)):
            if isinstance(form, type) and issubclass(form, msgspec.Struct):
                found |= {form} | structs(form)
    return found


def default(field: msgspec.structs.FieldInfo) -> str:
    """A default as the page writes it."""
    value = field.default
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str | Decimal) else f"`{value}`"


def test_every_table_of_the_settings_has_a_section() -> None:
    assert structs(settings.Settings) == set(TABLES.values())


@pytest.mark.parametrize("table", TABLES)
def test_every_key_has_its_default_and_a_meaning(table: str) -> None:
    told = {row[0].strip("`"): row for row in pages.rows(pages.section("docs/configuration.md", f"### `{table}`"))}
    there = {field.name: default(field) for field in msgspec.structs.fields(TABLES[table])}
    assert {name: row[1] for name, row in told.items()} == there
    assert all(row[2] for row in told.values())


def test_every_variable_has_an_entry() -> None:
    told = pages.first_column(pages.section("docs/configuration.md", "## Environment").partition("### ")[0])
    assert sorted(told) == sorted({*VARIABLES, *_CLIENT_VARIABLES, DEBUG})


def test_every_known_vendor_has_its_variables_in_the_page() -> None:
    text = pages.section("docs/configuration.md", "### Providers")
    told = {row[0].strip("`"): set(pages.codes(" ".join(row[1:]))) for row in pages.rows(text)}
    names = {slug: {*row.key_env, *row.url_env, row.account_env} - {None} for slug, row in known_vendors().items()}
    assert told == names


def test_the_vendors_that_take_data_urls_alone_are_told() -> None:
    told = next(row for row in pages.rows(pages.read("docs/configuration.md")) if row[0] == "`fetches_urls`")
    blind = {slug for slug, row in known_vendors().items() if not row.fetches_urls}
    assert blind
    assert set(pages.codes(told[2])) == blind


def test_the_dialects_that_a_file_may_name_are_told() -> None:
    told = next(row for row in pages.rows(pages.read("docs/configuration.md")) if row[0] == "`dialect`")
    assert set(pages.codes(told[2])) == set(registry.upstreams({}))


# --- commands


def commands(here: cyclopts.App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, cyclopts.App]]:
    for name in here:
        if not name.startswith("-"):
            below = list(commands(here[name], (*path, name)))
            yield from below
            if not below:
                yield " ".join((*path, name)), here[name]


def options(command: cyclopts.App) -> set[str]:
    return {
        name
        for argument in command.assemble_argument_collection()
        if argument.field_info.kind is argument.field_info.KEYWORD_ONLY
        for name in argument.names
        if not name.startswith("--no-")
    }


def test_every_command_has_a_heading_and_no_heading_lacks_its_command() -> None:
    told = re.findall(r"^## `routebook ([\w ]+)`$", pages.read("docs/cli.md"), re.MULTILINE)
    assert sorted(told) == sorted(name for name, _ in commands())


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_option_of_a_command_is_told_with_an_example(name: str, command: cyclopts.App) -> None:
    text = pages.section("docs/cli.md", f"## `routebook {name}`")
    assert f"$ routebook {name}" in text
    told = {
        code.split()[0]
        for code in pages.codes(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        if re.match(r"--?[a-z]", code)
    }
    assert told == options(command)


def shown_commands() -> Iterator[str]:
    """Every command line that a page shows."""
    for page in pages.PAGES:
        for code in pages.codes(pages.prose(page)):
            if code.startswith("routebook "):
                yield code
    for block in pages.blocks("console"):
        joined = block.text.replace("\\\n", " ")
        for line in joined.splitlines():
            found = re.match(r"[$#] (?:\w+=\S+ )*(?:docker exec routebook )?(?:\S*/)?(routebook .*)", line)
            if found and "docker" not in found[1]:
                yield found[1].partition("  #")[0]


def test_every_command_line_in_the_pages_is_one_that_exists() -> None:
    known = dict(commands())
    groups = {name.split()[0] for name in known} | {"COMMAND"}
    lines = list(shown_commands())
    assert lines
    for line in lines:
        words = line.split()[1:]
        if len(words) == 1 and words[0] in groups:
            continue
        name = next((n for n in known if words[: len(n.split())] == n.split()), None)
        assert name is not None or words[0] == "COMMAND", line
        if name is not None:
            given = {word for word in words if word.startswith("--")} - {"--help"}
            assert given <= options(known[name]), line


def test_every_make_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", pages.read("Makefile"), re.MULTILINE))
    told = {match for page in pages.PAGES for match in re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text("utf-8"))}
    assert told
    assert told <= targets


# --- the record


@pytest.fixture
def whole() -> dict[str, Any]:
    """A record with something in every place."""
    ended = outcome(
        attempts=(attempt(error="UpstreamLost", status=None), attempt()),
        losses=(Loss("logit_bias", "no such parameter"),),
        moderation_ns=50_000_000,
    )
    return record(Folded(2, intent(5), None, ended, State.DONE, (revised(charge()),)))


def documented(*headings: str) -> list[str]:
    return [name for heading in headings for name in pages.first_column(pages.section("docs/record.md", heading))]


def test_every_field_of_the_record_has_an_entry(whole: dict[str, Any]) -> None:
    told = documented("## Identity and attribution", "## Outcome", "## Times", "## Tokens and counters", "## Money")
    assert sorted([*told, "routebook"]) == sorted(whole)


def test_every_addition_of_our_own_has_an_entry(whole: dict[str, Any]) -> None:
    assert sorted(documented("## `routebook`")) == sorted(whole["routebook"])


@pytest.mark.parametrize(
    "path",
    [
        ("provider_responses", 1),
        ("routebook", "lines", 0),
        ("routebook", "attempts", 1),
        ("routebook", "revisions", 1),
        ("routebook", "attempts", 1, "marks"),
        ("routebook", "marks"),
        ("routebook", "losses", 0),
        ("routebook", "delivered"),
        ("routebook", "upstream"),
        ("routebook", "daybook"),
    ],
    ids=str,
)
def test_every_member_of_an_inner_object_is_named(whole: dict[str, Any], path: tuple[str | int, ...]) -> None:
    inner: Any = whole
    for step in path:
        inner = inner[step]
    assert inner
    assert set(inner) <= set(pages.codes(pages.read("docs/record.md")))


def test_every_item_of_a_cost_line_is_named() -> None:
    files = ("metering/pricing.py", "metering/revision.py", "daybook/orphans.py")
    source = "".join(pages.read(f"src/routebook/{file}") for file in files)
    items = set(re.findall(r'Line\("(\w+)"', source)) | set(
        re.findall(r'^    \("(\w+)", "\w+"\),$', source, re.MULTILINE)
    )
    text = re.search(r"Items: (.*?)\.", pages.section("docs/record.md", "## `routebook`"), re.DOTALL)
    assert text is not None
    assert set(pages.codes(text[1])) == items


# --- metrics, errors, client, dependencies, rooms


def test_every_metric_has_an_entry_with_its_labels() -> None:
    metrics = Metrics()
    metrics.settled(intent(5), outcome(attempts=(attempt(),), usage_source="estimated"), State.DONE)
    there: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        there[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    told = {
        row[0].strip("`"): {code for code in pages.codes(row[2]) if code not in ("prompt", "completion")}
        for row in pages.rows(pages.read("docs/operating.md"))
        if row[0].startswith("`routebook_")
    }
    assert told == there


def faults(kind: type[Fault] = Fault) -> Iterator[type[Fault]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("routebook."):
            yield child
            yield from faults(child)


def test_every_status_and_error_type_has_an_entry() -> None:
    told = {(row[0], row[1].strip("`")) for row in pages.rows(pages.read("docs/errors.md"))}
    there = {(str(kind.status), kind.error_type) for kind in faults() if kind.__module__ == errors.__name__}
    unused = {("409", "conflict")}
    """no path answers with it yet"""
    assert there - unused <= told


def test_every_kind_of_fault_that_an_attempt_can_have_is_named() -> None:
    told = set(pages.codes(pages.section("docs/errors.md", "## Kinds of fault")))
    there = {kind.__name__ for kind in faults(UpstreamFault) if kind.__module__ != "tests"}
    assert there <= told


def test_every_error_of_the_client_is_named() -> None:
    told = set(pages.codes(pages.section("docs/client.md", "## Errors")))
    there = {
        name
        for name in client_package.__all__
        if isinstance(kind := getattr(client_package, name), type) and issubclass(kind, client_package.RoutebookError)
    }
    assert there <= told


def test_every_direct_dependency_has_a_reason() -> None:
    names = [re.split(r"[><=\[ ]", entry)[0] for entry in PROJECT["project"]["dependencies"]]
    rows = pages.rows(pages.read("docs/decisions/0002-runtime-dependencies.md"))
    assert sorted(row[0].strip("`") for row in rows) == sorted(names)
    assert all(row[1] for row in rows)
    assert len(names) <= 20


def test_every_room_is_in_the_table_in_the_order_of_the_walls() -> None:
    walls = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    rooms = [name.strip() for layer in walls["layers"] for name in re.split(r"[:|]", layer)]
    told = pages.first_column(pages.section("docs/ARCHITECTURE.md", "## Rooms"))
    assert [name.removesuffix(".py") for name in told] == rooms
    there = {path.name for path in (ROOT / "src" / "routebook").iterdir() if (path / "__init__.py").is_file()}
    assert there == {*rooms, "client"} - {"compose"}
