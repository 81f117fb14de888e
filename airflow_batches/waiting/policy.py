"""Judge what an outcome means for the task that waited.

It is pure, and the same in every operator and sensor.

| outcome                                        | verdict                                             |
|------------------------------------------------|-----------------------------------------------------|
| ended, all canceled                            | skip                                                |
| ended, nothing succeeded                       | fail: a retry would find the same batch             |
| ended, failed share above `max_failure_rate`   | fail                                                |
| ended, some failed                             | succeed, with a warning that names the counts       |
| ended, all succeeded                           | succeed                                             |
| ended, counts unknown or with requests open    | retry: a later version, or a later poll, may know   |
| timed out, or an event that is not ours        | retry: the next try re-attaches to the same batch   |
| gave up                                        | retry: likewise, once the key or permission is back |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from airflow_batches.waiting.outcome import Ending, Outcome

MAX_FAILURE_RATE: Final = 0.05
"""Share of requests without success that is accepted by default. Chosen: single requests fail in any large batch; one
in twenty points at the prompts, the model's name or the credit."""


class Action(StrEnum):
    """What the task does."""

    SUCCEED = "succeed"
    SKIP = "skip"
    FAIL = "fail"
    RETRY = "retry"


@dataclass(frozen=True)
class Verdict:
    """An action and its reason in words; a success with a message is logged as a warning."""

    action: Action
    message: str = ""


def judge(outcome: Outcome, *, max_failure_rate: float | None = MAX_FAILURE_RATE) -> Verdict:
    """Judge an outcome.

    :param outcome: the outcome of a wait.
    :param max_failure_rate: share (0 to 1) of requests without success that is accepted; None accepts any share, but at
        least one request must have succeeded.
    """
    match outcome.ending:
        case Ending.ENDED:
            return _on_ended(outcome, max_failure_rate)
        case Ending.GAVE_UP:
            return Verdict(
                Action.RETRY,
                f"{outcome.batch_id} could not be polled: {outcome.message}. It may still run and be billed; a retry "
                "of this task waits for it again",
            )
        case Ending.TIMED_OUT | Ending.UNREADABLE:
            # An event that could not be read may not name its batch either.
            return Verdict(Action.RETRY, ": ".join(filter(None, (outcome.batch_id, outcome.message))))


def _on_ended(outcome: Outcome, max_failure_rate: float | None) -> Verdict:
    counts, batch = outcome.counts, outcome.batch_id
    if not counts.known:
        return Verdict(
            Action.RETRY,
            f"{batch} has ended ({outcome.status}) with {counts}: how many requests succeeded is not known",
        )
    if counts.processing or not counts.total:
        return Verdict(
            Action.RETRY, f"{batch} has the status {outcome.status!r} with {counts}, which is no end known here"
        )
    if counts.canceled == counts.total:
        return Verdict(Action.SKIP, f"{batch} was canceled before any of its {counts.total:,} requests was answered")
    if not counts.succeeded:
        return Verdict(Action.FAIL, f"{batch} ended without a single success ({counts})")
    rate = counts.failed / counts.total
    if max_failure_rate is not None and rate > max_failure_rate:
        return Verdict(
            Action.FAIL,
            f"{batch}: {rate:.2%} of the requests failed, above the {max_failure_rate:.2%} allowed ({counts})",
        )
    return Verdict(
        Action.SUCCEED,
        f"{batch}: {counts.failed:,} of {counts.total:,} requests failed ({counts})" if counts.failed else "",
    )
