"""How a wait ended: the value that a trigger passes to an operator.

Rules: plain JSON only (ids, counts, texts), no secret and nothing large, because Airflow stores it unencrypted in its
database. `from_event` reads the events of older and newer versions: unknown keys are ignored, missing ones have
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from airflow_batches.api.models import MessageBatch
from airflow_batches.api.polling import Answer, KeepWaiting, Watch, decide

MAX_MESSAGE: Final = 2_000
"""Characters of a message in an event. Chosen: a screen of text; a server's error may be of any length."""


class Ending(StrEnum):
    """Why a wait ended: a `StopReason` of `api.polling`, or `UNREADABLE`."""

    ENDED = "ended"
    TIMED_OUT = "timed_out"
    GAVE_UP = "gave_up"
    UNREADABLE = "unreadable"
    """The trigger's event was not an outcome."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A batch's requests by state, as last seen."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0
    other: int = 0
    """Requests in states that this version does not know."""
    known: bool = True
    """False if the API sent no counts, or counts that cannot be read; then a 0 proves nothing."""

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
        """How many requests have a result without an answer."""
        return self.errored + self.canceled + self.expired + self.other

    def __str__(self) -> str:
        states = {state: count for state, count in asdict(self).items() if count and state != "known"}
        text = ", ".join(f"{count:,} {state}" for state, count in states.items())
        if not self.known:
            return f"counts that cannot be read: {text}" if text else "unknown counts"
        return text or "no requests"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a wait for a batch.

    `status` is the API's `processing_status`, `message` the cause in words.
    """

    ending: Ending
    batch_id: str
    status: str = ""
    counts: Counts = field(default_factory=Counts)
    message: str = ""

    def to_event(self) -> dict[str, Any]:
        """Return a trigger's event.

        Its counts hold `other` and `known` only if they differ from the default.
        """
        counts = asdict(self.counts)
        for name, usual in (("other", 0), ("known", True)):
            if counts[name] == usual:
                del counts[name]
        message = self.message[:MAX_MESSAGE]
        return {**asdict(self), "ending": str(self.ending), "counts": counts, "message": message}

    @classmethod
    def from_event(cls, event: object) -> Outcome:
        """Read a trigger's event.

        One that cannot be read becomes `UNREADABLE`, with the event in its message.
        """
        try:
            return msgspec.convert(event, cls)
        except msgspec.ValidationError as exc:
            batch_id = event.get("batch_id") if isinstance(event, Mapping) else None
            message = f"The trigger's event is not one of ours ({exc}): {str(event)[:200]}"
            return cls(ending=Ending.UNREADABLE, batch_id=str(batch_id or ""), message=message)


def outcome_of(batch: MessageBatch, ending: Ending, message: str = "") -> Outcome:
    """Make a wait's outcome from a batch."""
    seen = batch.request_counts
    counts = Counts(
        processing=seen.processing,
        succeeded=seen.succeeded,
        errored=seen.errored,
        canceled=seen.canceled,
        expired=seen.expired,
        other=seen.other,
        known=seen.known,
    )
    return Outcome(ending=ending, batch_id=batch.id, status=batch.status_text, counts=counts, message=message)


def next_step(watch: Watch, answer: Answer, *, now: float, hint: float | None = None) -> KeepWaiting | Outcome:
    """Decide what follows from a poll's answer, as `api.polling.decide`; the end of a wait is its outcome."""
    decision = decide(watch, answer, now=now, hint=hint)
    if isinstance(decision, KeepWaiting):
        return decision
    return outcome_after(watch.batch_id, answer, Ending(decision.reason), decision.message)


def outcome_after(batch_id: str, answer: Answer, ending: Ending, message: str) -> Outcome:
    """Make a wait's outcome from the answer to its last poll."""
    if isinstance(answer, MessageBatch):
        return outcome_of(answer, ending, message)
    return Outcome(ending=ending, batch_id=batch_id, message=message)
