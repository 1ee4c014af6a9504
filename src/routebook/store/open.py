"""From the configured URL to an open store: the one place that maps a scheme to a class."""

from __future__ import annotations

from pathlib import Path

from routebook.config.settings import Settings
from routebook.store.port import Store

_SQLITE = "sqlite:///"


def database_path(settings: Settings, home: Path) -> Path:
    """The SQLite file of `store.url`; a relative one is relative to the data folder. ValueError for another scheme."""
    url = settings.store.url
    if not url.startswith(_SQLITE) or url == _SQLITE:
        scheme = url.partition(":")[0]
        raise ValueError(f"store.url must look like sqlite:///routebook.db; this version has no store for {scheme}")
    return home / url.removeprefix(_SQLITE)


def open_store(settings: Settings, home: Path) -> Store:
    """The configured store, its schema up to date. Raises Unavailable or, for the URL, ValueError."""
    from routebook.store.sqlite import SqliteStore

    return SqliteStore(database_path(settings, home))


def upgrade_store(settings: Settings, home: Path) -> tuple[int, int]:
    """Brings the schema up to date without serving: (schema before, schema after). Raises as `open_store`."""
    from routebook.store.sqlite import upgrade

    return upgrade(database_path(settings, home))


def schemas(settings: Settings, home: Path) -> tuple[int | None, int]:
    """(schema of the store's file, newest this version knows), without changing anything; None: no file yet.

    Raises Unavailable for a file that cannot be read, ValueError as `database_path`.
    """
    from contextlib import closing
    from sqlite3 import Error, connect

    from routebook.core.errors import Unavailable
    from routebook.store import migrate

    file = database_path(settings, home)
    if not file.exists():
        return None, migrate.newest_schema()
    try:
        with closing(connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
            return migrate.schema_of(db), migrate.newest_schema()
    except Error as error:
        raise Unavailable(f"The store cannot be read: {error}.") from None
