"""Framing: bytes on the wire as values, and back. Pure: no socket, no clock."""
