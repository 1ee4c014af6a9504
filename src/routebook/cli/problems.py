"""Problems of the command line itself: their messages are whole sentences that say what to do."""

from __future__ import annotations

import errno

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""of what is written: no room for it"""


class CannotListen(Exception):
    """The address cannot be had."""


class ModelFailed(Exception):
    """The embedded model did not get ready."""
