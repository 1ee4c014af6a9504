"""A service account of our own making: its key, its file, and a check of what is signed with it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_KEY = generate_private_key(65537, 2048)
KEY_PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(path: Path, token_uri: str, **members: Any) -> str:
    """Write a key file as Google gives them; `members` replace or, being None, remove what it holds. Its path."""
    said = {
        "type": "service_account",
        "project_id": "project-of-the-file",
        "private_key_id": "kid-1",
        "private_key": KEY_PEM,
        "client_email": "sa@p.test",
        "client_id": "1",
        "token_uri": token_uri,
        **members,
    }
    path.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))
    return str(path)


def claims_of(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, claims) of a JWT. Raises InvalidSignature unless it was signed with the key."""
    text, _, signature = assertion.rpartition(".")
    _KEY.public_key().verify(_bytes(signature), text.encode(), PKCS1v15(), SHA256())
    head, claims = text.split(".")
    return json.loads(_bytes(head)), json.loads(_bytes(claims))


def _bytes(text: str) -> bytes:
    assert "=" not in text
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
