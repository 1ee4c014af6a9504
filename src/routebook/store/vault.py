"""Sealing what is kept so that only this gateway reads it again: AES-256-GCM under keys of the installation's secret.

Every text has a key of its own: HKDF-SHA256 (RFC 5869) of the secret, with a label for the purpose and what the text
is about. So texts share no pair of key and nonce, however many there are, and one that was moved does not open.
"""

from __future__ import annotations

from collections.abc import Callable

from routebook.config.secret import Secret

_FORM = b"\x01"
"""first byte of everything sealed: which form it has"""
_NONCE_BYTES = 12


class Vault:
    """Seals and opens for one purpose. `roll(bits)` gives a random number, as `Dice.roll` does."""

    def __init__(self, secret: Secret, label: str, roll: Callable[[int], int]) -> None:
        """`label` tells purposes apart: what one has sealed another cannot open."""
        self._secret = secret
        self._label = label.encode()
        self._roll = roll

    def seal(self, text: bytes, about: bytes) -> bytes:
        """The text sealed, 29 bytes longer. It opens only where the same is said of what it is about."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = self._roll(8 * _NONCE_BYTES).to_bytes(_NONCE_BYTES, "big")
        return _FORM + nonce + AESGCM(self._key(about)).encrypt(nonce, text, about)

    def open(self, sealed: bytes, about: bytes) -> bytes | None:
        """The text; None if it was sealed by another secret, for another purpose, about something else, or changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        start = len(_FORM)
        nonce, rest = sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        if not sealed.startswith(_FORM) or len(nonce) < _NONCE_BYTES:
            return None
        try:
            return AESGCM(self._key(about)).decrypt(nonce, rest, about)
        except InvalidTag:
            return None

    def _key(self, about: bytes) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = self._label + b"\0" + about
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._secret.reveal().encode())
