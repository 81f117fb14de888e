"""How a wait ended: the one value that crosses from a trigger to an operator.

Rules: plain JSON only (ids, counts, texts), never a secret and nothing large, because it is stored in clear in
Airflow's database. `from_event` reads what an older or a newer version wrote: unknown keys are ignored, missing
ones have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

LONGEST_MESSAGE: Final = 2_000
"""Characters of a message in an event; a server's error may hold any number."""


class Ending(StrEnum):
    """Why the waiting is over."""

    ENDED = "ended"
    """The batch has ended, or has a status that nothing here knows."""
    TIMED_OUT = "timed_out"
    """Our deadline passed; the batch goes on."""
    GAVE_UP = "gave_up"
    """The API has refused the polls for so long that it was believed: a wrong key, no permission, no such batch."""
    UNREADABLE = "unreadable"
    """The event was not one of ours."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Requests of a batch by state, as last seen."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0
    other: int = 0
    """In states that this version does not know."""
    known: bool = True
    """False when the API sent no counts, or some that cannot be read: then a 0 proves nothing."""

    @property
    def total(self) -> int:
        """How many requests the batch holds."""
        return self.processing + self.finished

    @property
    def finished(self) -> int:
        """How many requests have a result."""
        return self.succeeded + self.failed

    @property
    def failed(self) -> int:
        """How many requests have a result, and no answer in it."""
        return self.errored + self.canceled + self.expired + self.other

    def __str__(self) -> str:
        states = {state: count for state, count in asdict(self).items() if count and state != "known"}
        text = ", ".join(f"{count:,} {state}" for state, count in states.items())
        if not self.known:
            return f"counts that cannot be read: {text}" if text else "unknown counts"
        return text or "no requests"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a wait for `batch_id`; `status` is the API's `processing_status`, `message` the cause in words."""

    ending: Ending
    batch_id: str
    status: str = ""
    counts: Counts = field(default_factory=Counts)
    message: str = ""

    def to_event(self) -> dict[str, Any]:
        """As a trigger's event; `other` and `known` are in its counts only where they say something."""
        counts = asdict(self.counts)
        for name, usual in (("other", 0), ("known", True)):
            if counts[name] == usual:
                del counts[name]
        message = self.message[:LONGEST_MESSAGE]
        return {**asdict(self), "ending": str(self.ending), "counts": counts, "message": message}

    @classmethod
    def from_event(cls, event: object) -> Outcome:
        """From a trigger's event; what cannot be read becomes `UNREADABLE` and says what it was."""
        try:
            return msgspec.convert(event, cls)
        except msgspec.ValidationError as exc:
            batch_id = event.get("batch_id") if isinstance(event, Mapping) else None
            message = f"not an outcome ({exc}): {str(event)[:200]}"
            return cls(ending=Ending.UNREADABLE, batch_id=str(batch_id or ""), message=message)
