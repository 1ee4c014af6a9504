"""Who may call, as a snapshot in memory: keys by hash, read again when the store says that they changed.

Only hashes are kept. The text of a key exists in this process while it is made or checked, never in a field.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid  # noqa: TID251 - only uuid5, which is a hash and rolls no dice

from routebook.core.people import DEFAULT_ACCOUNT, Key
from routebook.store.port import Store

KEY_PREFIX = "sk-rb-v1-"

# Fixed for ever: the default workspace of an account has the same id on every installation and after every restart.
_WORKSPACES = uuid.UUID("5d0a2f7e-6b1c-5f43-9a57-2f1f0c6f5b1e")


def new_key_text(dice: int) -> str:
    """A new key: `sk-rb-v1-` and 64 hex digits; `dice` is 256 random bits."""
    return f"{KEY_PREFIX}{dice:064x}"


def hash_of(text: str) -> str:
    """Lower-case hex sha-256 of the whole key string: the name of a key everywhere but in its owner's hands."""
    return hashlib.sha256(text.encode()).hexdigest()


def label_of(text: str) -> str:
    """The masked form that is safe to show: `sk-rb-v1-0e6...1c96`."""
    return f"{text[: len(KEY_PREFIX) + 3]}...{text[-4:]}"


def default_workspace(account: str) -> str:
    """The id of the workspace that every account has; keys and records without another one carry it."""
    return str(uuid.uuid5(_WORKSPACES, account))


class People:
    """All keys by hash. `find` costs one sha-256 and one look-up; nothing here waits for the store but `refresh`."""

    def __init__(self, admin_hash: str | None = None) -> None:
        """`admin_hash`: `hash_of` the operator's own key, which is in no store; None if there is none."""
        self._admin: Key | None = None
        if admin_hash is not None:
            self._admin = Key(
                hash=admin_hash,
                name="admin",
                label="admin",
                admin=True,
                workspace_id=default_workspace(DEFAULT_ACCOUNT),
                created_at="1970-01-01T00:00:00+00:00",
            )
        self._keys: dict[str, Key] = {}
        self._version: int | None = None
        self.changing = asyncio.Lock()
        """held by whoever reads a key, changes it and writes it back"""
        self._reading = asyncio.Lock()
        """held while the store is read, so that what was read first is not put in place last"""
        self._put()

    def _put(self, keys: list[Key] | None = None) -> None:
        table = {key.hash: key for key in keys or ()}
        if self._admin is not None:
            table[self._admin.hash] = self._admin
        self._keys = table

    def find(self, secret_text: str) -> Key | None:
        """The key of that text, None if there is none. Whether it may do anything, `policy.admission.admit` says."""
        return self._keys.get(hash_of(secret_text))

    def by_hash(self, hash: str) -> Key | None:
        return self._keys.get(hash)

    def of_account(self, account: str) -> list[Key]:
        """The stored keys of an account, newest first; the operator's own is not among them."""
        keys = [key for key in self._keys.values() if key.account == account and not key.admin]
        return sorted(keys, key=lambda key: (key.created_at, key.hash), reverse=True)

    async def refresh(self, store: Store) -> bool:
        """Read the keys again if the store changed since; True if so. Raises Unavailable and keeps what it has."""
        async with self._reading:
            version = await store.version()
            if version == self._version:
                return False
            self._put(await store.keys())
            # Taken before the keys were read: a change in between is seen once more, never missed.
            self._version = version
            return True
