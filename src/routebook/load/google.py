"""Google accounts as operators have them: a key file, or the machine's own. Read here, used in `upstream.google`.

A file is what GOOGLE_APPLICATION_CREDENTIALS names: the key of a service account, or a user's own (`gcloud auth
application-default login`). Source, read 2026-11: cloud.google.com "How Application Default Credentials works".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from routebook.config.problems import ConfigError, KeyPath
from routebook.config.secret import Secret
from routebook.wire import codec

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
METADATA = "metadata"
"""Instead of a file: the account that the machine runs as, of whose tokens its metadata server knows."""
PROJECTS = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_VERTEX_PROJECT")
_HOST_VARIABLE = "GCE_METADATA_HOST"
_HOST = "metadata.google.internal"
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
_TOKEN_URI = "https://oauth2.googleapis.com/token"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What gets access tokens. `repr` shows no secret."""

    kind: Literal["service_account", "authorized_user", "metadata"]
    url: str
    """where tokens are had"""
    source: str
    """the file or the server, for people"""
    name: str = ""
    """a service account's address; a user's client id"""
    key_id: str | None = None
    secret: Secret = Secret("")
    """a service account's private key (PEM); a user's refresh token"""
    client_secret: Secret = Secret("")
    project: str | None = None


def account(said: str, environ: Mapping[str, str], path: KeyPath = ()) -> Account:
    """The account of a file, or of METADATA. Raises ConfigError that says what to do, never what the file holds."""
    if said == METADATA:
        host = environ.get(_HOST_VARIABLE) or _HOST
        return Account(kind="metadata", url=f"http://{host}{_TOKEN_PATH}", source=f"the metadata server {host}")
    try:
        text = Path(said).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{said} cannot be read: {error.strerror}", path) from None
    try:
        found = codec.decode_as(text, dict[str, Any])
    except codec.DecodeError:
        raise ConfigError(f"{said} is not JSON: name the key file of a service account", path) from None
    kind = found.get("type")
    if kind == "service_account":
        email, key = _member(found, "client_email", said, path), _member(found, "private_key", said, path)
        _check_key(key, said, path)
        return Account(
            kind="service_account",
            url=_text(found.get("token_uri")) or _TOKEN_URI,
            source=said,
            name=email,
            key_id=_text(found.get("private_key_id")),
            secret=Secret(key),
            project=_text(found.get("project_id")),
        )
    if kind == "authorized_user":
        return Account(
            kind="authorized_user",
            url=_text(found.get("token_uri")) or _TOKEN_URI,
            source=said,
            name=_member(found, "client_id", said, path),
            secret=Secret(_member(found, "refresh_token", said, path)),
            client_secret=Secret(_member(found, "client_secret", said, path)),
            project=_text(found.get("quota_project_id")),
        )
    known = f"{kind!r} credentials are not supported" if isinstance(kind, str) else "it has no `type`"
    raise ConfigError(f'{said}: {known}; use the key file of a service account, or "{METADATA}" on Google Cloud', path)


def with_project(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, with the project of the key file it names where it names no project itself."""
    if not environ.get(VARIABLE) or any(environ.get(name) for name in PROJECTS):
        return environ
    try:
        project = account(environ[VARIABLE], environ).project
    except ConfigError:
        return environ  # said where the account itself is wanted
    return environ if project is None else {**environ, PROJECTS[0]: project}


def _member(found: Mapping[str, Any], name: str, said: str, path: KeyPath) -> str:
    value = _text(found.get(name))
    if value is None:
        raise ConfigError(f"{said} has no `{name}`: download the key file anew", path)
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _check_key(key: str, said: str, path: KeyPath) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        good = isinstance(load_pem_private_key(key.encode(), None), RSAPrivateKey)
    except (ValueError, TypeError):
        good = False
    if not good:
        raise ConfigError(f"{said}: its `private_key` is no RSA key in PEM form: download the key file anew", path)
