"""Step 1 and 2: who is asking, may they; and what do they ask."""

from __future__ import annotations

import msgspec

from routebook.core.call import Call
from routebook.core.errors import TooLarge, Unavailable
from routebook.core.people import Key
from routebook.corridor.ports import App, Arrival
from routebook.policy.admission import admit as admit_key
from routebook.policy.admission import credential


class Admitted(msgspec.Struct, frozen=True):
    """A caller who may infer, and their call."""

    key: Key
    call: Call
    arrival: Arrival


def admit(arrival: Arrival, app: App) -> Admitted:
    """Raises Unauthenticated, Forbidden, Unavailable while draining, TooLarge, BadRequest."""
    if app.draining:
        raise Unavailable("The gateway is shutting down; send the request again.", retry_after=1)
    key = admit_key(app.people.find(credential(arrival.headers)), arrival.accepted_ns, "inference")
    if len(arrival.body) > app.settings.limits.body_bytes:
        raise TooLarge(f"The request body is larger than {app.settings.limits.body_bytes} bytes; send less.")
    return Admitted(key, arrival.surface.read(arrival.body, arrival.headers), arrival)
