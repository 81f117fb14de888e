"""What an outcome means for the task that waited. Pure, and the same in every operator and sensor.

| outcome                                        | verdict                                             |
|------------------------------------------------|-----------------------------------------------------|
| ended, all canceled                            | skip                                                |
| ended, nothing succeeded                       | fail: a retry would find the same batch             |
| ended, failed share above `max_failure_rate`   | fail                                                |
| ended, some failed                             | succeed, with a warning that names the counts       |
| ended, all succeeded                           | succeed                                             |
| ended without counts, or with requests open    | retry: a later version, or a later look, may know   |
| timed out, or an event that is not ours        | retry: the next try takes the same batch up again   |
| gave up                                        | fail                                                |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from airflow_batches.waiting.outcome import Ending, Outcome


class Action(StrEnum):
    """What becomes of the task."""

    SUCCEED = "succeed"
    SKIP = "skip"
    FAIL = "fail"
    RETRY = "retry"


@dataclass(frozen=True)
class Verdict:
    """An action, and in words why; a success with a message deserves a warning."""

    action: Action
    message: str = ""


def judge(outcome: Outcome, *, max_failure_rate: float | None = None) -> Verdict:
    """What follows from an outcome; `max_failure_rate` is a share from 0 to 1, None takes any but 1."""
    match outcome.ending:
        case Ending.ENDED:
            return _on_ended(outcome, max_failure_rate)
        case Ending.GAVE_UP:
            return Verdict(Action.FAIL, f"{outcome.batch_id} cannot be waited for: {outcome.message}")
        case Ending.TIMED_OUT | Ending.UNREADABLE:
            return Verdict(Action.RETRY, f"{outcome.batch_id}: {outcome.message}")


def _on_ended(outcome: Outcome, max_failure_rate: float | None) -> Verdict:
    counts, batch = outcome.counts, outcome.batch_id
    if counts.processing or not counts.total:
        return Verdict(
            Action.RETRY, f"{batch} has the status {outcome.status!r} with {counts}, which is no end known here"
        )
    if counts.canceled == counts.total:
        return Verdict(Action.SKIP, f"{batch} was canceled before any of its {counts.total:,} requests was answered")
    if not counts.succeeded:
        return Verdict(
            Action.FAIL,
            f"{batch} ended without a single success ({counts}). The result lines say why; an empty credit "
            "balance, for one, fails every line",
        )
    failed = counts.total - counts.succeeded
    rate = failed / counts.total
    if max_failure_rate is not None and rate > max_failure_rate:
        return Verdict(
            Action.FAIL,
            f"{batch}: {rate:.2%} of the requests failed, above the {max_failure_rate:.2%} allowed ({counts})",
        )
    return Verdict(
        Action.SUCCEED, f"{batch}: {failed:,} of {counts.total:,} requests failed ({counts})" if failed else ""
    )
