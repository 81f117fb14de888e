"""Which requests another round sends again. Pure.

| a line                                                          | kind                | sent again              |
|-----------------------------------------------------------------|---------------------|-------------------------|
| succeeded                                                       | -                   | no                      |
| succeeded, stopped by `max_tokens`                              | `max_tokens`        | with `max_tokens_growth`|
| succeeded, not of the output type                               | `invalid_output`    | yes, if it was whole    |
| expired                                                         | `expired`           | yes                     |
| errored: api, overloaded, rate limit or timeout error           | the error's type    | yes                     |
| errored: billing, permission, authentication; no credit         | `NO_CREDIT`         | after a person ran the  |
|                                                                 |                     | job again               |
| canceled                                                        | `canceled`          | after a person ran the  |
|                                                                 |                     | job again since         |
| errored otherwise (invalid requests)                            | -                   | no                      |

The docs ("Batch processing") say that only invalid requests must be changed before they are sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from airflow_batches.jobs.ledger import INVALID_OUTPUT, SUCCEEDED, JobBatch, LandedBatch
from airflow_batches.landing.lines import ResultLine

NO_CREDIT: Final = "no_credit"
MAX_TOKENS: Final = "max_tokens"
CANCELED: Final = "canceled"
CUT_OFF: Final = frozenset({MAX_TOKENS, "model_context_window_exceeded", "refusal"})
"""Reasons to stop that leave half an answer, which the same request would get again (docs, "Structured outputs" and
"Stop reasons")."""
RETRYABLE: Final = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})
CREDIT: Final = frozenset({"billing_error", "permission_error", "authentication_error"})
CREDIT_MESSAGE: Final = "credit balance is too low"
"""Part of the message of a line without credit, whose type was recorded live as `invalid_request_error` (bespokelabsai/
curator issue 296)."""

OutputCheck: TypeAlias = Callable[[Sequence[bytes]], Sequence[str | None]]
"""Returns for each line with an answer why that is not of the output type; None: it is."""


class Judged(NamedTuple):
    """What another round may do about a line.

    :param kind: why it may be sent again; None: it is final.
    :param invalid: why its answer is not of the output type; None: it is, or there is no answer.
    """

    kind: str | None
    invalid: str | None = None


@dataclass(frozen=True)
class Repeats:
    """Which lines of a job may be sent again.

    :param truncated: answers that `max_tokens` stopped.
    :param canceled: canceled requests.
    :param check: checks answers against the output type; None: there is none.
    """

    truncated: bool = False
    canceled: bool = False
    check: OutputCheck | None = None

    @property
    def only_failures(self) -> bool:
        """Whether answers need not be looked at."""
        return not self.truncated and self.check is None

    def of(self, batch: JobBatch) -> Repeats:
        """Return the same for the lines of a batch."""
        return replace(self, canceled=batch.resend_canceled)

    def judge(self, lines: Sequence[tuple[bytes, ResultLine]]) -> list[Judged]:
        """Judge lines, each given with its bytes."""
        judged = [Judged(kind_of(line, truncated=self.truncated, canceled=self.canceled)) for _, line in lines]
        if self.check is None:
            return judged
        answers = [place for place, (_, line) in enumerate(lines) if line.result.type == SUCCEEDED]
        reasons = self.check([lines[place][0] for place in answers])
        for place, reason in zip(answers, reasons, strict=True):
            if reason is not None:
                kind = judged[place].kind or (None if _is_cut_off(lines[place][1]) else INVALID_OUTPUT)
                judged[place] = Judged(kind, reason)
        return judged


def _is_cut_off(line: ResultLine) -> bool:
    return line.result.message is not None and line.result.message.stop_reason in CUT_OFF


def kind_of(line: ResultLine, *, truncated: bool, canceled: bool) -> str | None:
    """Return the kind of a line that may be sent again; None: it is final.

    :param line: the result.
    :param truncated: answers that `max_tokens` stopped are sent again.
    :param canceled: canceled requests are sent again.
    """
    result = line.result
    if result.type == SUCCEEDED:
        stopped = result.message is not None and result.message.stop_reason == MAX_TOKENS
        return MAX_TOKENS if truncated and stopped else None
    if result.type == "errored":
        if result.error_type in CREDIT or CREDIT_MESSAGE in (result.error_message or ""):
            return NO_CREDIT
        return result.error_type if result.error_type in RETRYABLE else None
    return result.type if result.type == "expired" or (canceled and result.type == CANCELED) else None


def with_more_tokens(request: bytes, growth: float) -> bytes:
    """Return a request with a higher `max_tokens`."""
    plain: dict[str, Any] = msgspec.json.decode(request)
    # Rounded up: the growth of a small limit may be less than one token.
    plain["params"]["max_tokens"] = ceil(plain["params"]["max_tokens"] * growth)
    return msgspec.json.encode(plain)


def wanted(batch: JobBatch) -> JobBatch:
    """Return a batch whose canceled requests are sent again, unless it has landed: a person runs the job again."""
    if batch.landed is not None or batch.lost:
        return batch
    return msgspec.structs.replace(batch, resend_canceled=True)


def after_landing(batch: JobBatch, landed: LandedBatch) -> JobBatch:
    """Return a batch with what has landed.

    If it was canceled as a whole and its requests are wanted, its shard is sent again, as the canary if it was that.
    """
    if batch.resend_canceled and landed.counts.get(CANCELED) == landed.lines:
        return msgspec.structs.replace(batch, lost="was canceled before a request was answered", free=True)
    return msgspec.structs.replace(batch, landed=landed)


def forgiven(batch: JobBatch) -> JobBatch:
    """Return a batch whose requests without credit may be sent again; all of them if nothing was billed."""
    landed = batch.landed
    if landed is None or not landed.no_credit:
        return batch
    if not landed.billed:
        return msgspec.structs.replace(batch, landed=None, lost="no request had credit", free=True)
    return msgspec.structs.replace(batch, landed=msgspec.structs.replace(landed, forgiven=True))
