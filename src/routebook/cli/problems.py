"""Problems of the command line itself: their messages are whole sentences that say what to do."""

from __future__ import annotations


class CannotListen(Exception):
    """The address cannot be had."""


class ModelFailed(Exception):
    """The embedded model did not get ready."""
