"""A create call becomes a batch: parse the body, check each line, store the batch."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from airflow_batches.emulator import ids
from airflow_batches.emulator.call import Call
from airflow_batches.emulator.checks import Terms
from airflow_batches.emulator.clock import micros
from airflow_batches.emulator.errors import MESSAGES, ErrorAnswer
from airflow_batches.emulator.lifecycle import StoredBatch, new_batch
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Lines, Shape
from airflow_batches.emulator.settings import Settings
from airflow_batches.emulator.validation import BatchRequest, not_json, parse_create
from airflow_batches.emulator.verdicts import Judge


def create_batch(call: Call) -> StoredBatch:
    """Create the batch. Raises ErrorAnswer: 400 for the envelope, 429 for a full queue."""
    settings, state = call.settings, call.state
    requests = parse_create(call.payload, settings.max_requests)
    try:
        lines = Lines.gather(_judged(requests, call))
    except ValueError as error:
        raise not_json(call.payload, error) from None
    with state.store.changing():
        now = state.clock.micros()
        _keep_to_queue(call, len(requests), now)
        batch = new_batch(
            ids.batch_id(),
            call.workspace,
            lines,
            now,
            micros(settings.processing_time),
            incremental=settings.incremental_counts,
            answer_chars=settings.answer_chars,
        )
        state.store.add(batch, lines)
    return batch


def _judged(requests: list[BatchRequest], call: Call) -> Iterator[tuple[str, CheckedLine]]:
    judge = Judge(_terms(call))
    settings = call.settings
    shares = settings.errored_share + settings.expired_share > 0
    for line in requests:
        verdict = judge.verdict(line.custom_id, line.params)
        if shares and verdict.outcome is LineOutcome.SUCCEEDED:
            verdict = _with_shares(verdict, line.custom_id, settings)
        yield line.custom_id, verdict


def _with_shares(verdict: CheckedLine, custom_id: str, settings: Settings) -> CheckedLine:
    """Apply `errored_share` and `expired_share`, the same way for the same id and seed."""
    digest = blake2b(custom_id.encode(), digest_size=8, key=str(settings.seed).encode()).digest()
    fraction = int.from_bytes(digest) / 2**64
    if fraction < settings.errored_share:
        return verdict._replace(shape=_failure(settings), outcome=LineOutcome.ERRORED)
    if fraction < settings.errored_share + settings.expired_share:
        return verdict._replace(outcome=LineOutcome.EXPIRED)
    return verdict


def _failure(settings: Settings) -> Shape:
    message = settings.errored_message
    if message is None:
        message = MESSAGES.get(settings.errored_type, "Internal server error")
    return Shape(error_type=settings.errored_type, error_message=message, ran=True)


def _terms(call: Call) -> Terms:
    headers = call.head.headers
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",")]
    return Terms(
        version=headers.get("anthropic-version", ""),
        betas=frozenset(filter(None, betas)),
        user_profile_id=headers.get("anthropic-user-profile-id"),
        models=call.settings.models,
    )


def _keep_to_queue(call: Call, count: int, now: int) -> None:
    limit = call.settings.queue_limit
    if limit is None:
        return
    waiting = sum(r.total for r in call.state.store.all() if r.status(now) != "ended")
    if waiting + count > limit:
        raise ErrorAnswer(429, headers={"retry-after": str(call.settings.retry_after)})
