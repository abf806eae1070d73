"""A 404 for a recording: not yet, or never? Only the call's age can tell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentphone_async.models import Call

GRACE = timedelta(hours=24)
"""How long after a call's end its recording may still appear. "Shortly", says the API page "Get
Call Recording", without a number; a day costs little, since only absent recordings are asked for
again."""


def may_still_come(call: Call, now: datetime, grace: timedelta = GRACE) -> bool:
    """Whether a recording that is absent now may appear later.

    It may while the call goes on and for ``grace`` after its end. A call without any readable
    date is taken for old.
    """
    if not call.is_finished:
        return True
    ended = call.ended_at or call.started_at
    return ended is not None and now - ended < grace
