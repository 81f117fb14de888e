"""What the two tables never do, whatever batches of others with the same ids there are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import BatchesError
from airflow_batches.api.models import MessageBatch
from airflow_batches.submission.decision import Attempt, Send, is_canceled, is_useless, next_step
from airflow_batches.submission.errors import RequestsChanged
from airflow_batches.submission.receipt import Receipt, Sent
from airflow_batches.submission.record import Intent, Record
from airflow_batches.submission.settlement import (
    Adopt,
    Candidate,
    KeepLooking,
    NotSent,
    Undecided,
    WaitFor,
    is_certain,
    settle,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTES = st.integers(-30, 30).map(lambda minutes: timedelta(minutes=minutes))
COUNTS = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, 3) | st.none() for name in ("processing", "succeeded", "errored", "canceled")}
)


def outcome(decide: Callable[[], object]) -> object:
    """What a decision returns or raises."""
    try:
        return decide()
    except BatchesError as error:
        return error


def sent(fingerprint: str = "same") -> Sent:
    return Sent(requests=3, bytes=9, sha256="", ids_digest="ours", fingerprint=fingerprint)


@st.composite
def batches(draw: st.DrawFn, batch_id: str = "b") -> MessageBatch:
    """Any batch object that the API may send."""
    time = st.none() | MINUTES.map(lambda after: NOW + after)
    fields: dict[str, Any] = {
        "id": batch_id,
        "processing_status": draw(st.sampled_from(["in_progress", "canceling", "ended", "new_status"])),
        "request_counts": draw(COUNTS),
        "created_at": draw(time),
        "cancel_initiated_at": draw(time),
        "archived_at": draw(time),
    }
    return MessageBatch.model_validate(fields)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    digests = st.sampled_from([None, "ours", "others"])
    return [Candidate(draw(batches(f"b{number}")), draw(digests)) for number in range(draw(st.integers(0, 4)))]


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    sent_at = NOW + draw(MINUTES)
    return Intent(
        sent=sent(),
        sent_at=sent_at,
        since=sent_at - timedelta(minutes=10),
        certain_from=sent_at - draw(MINUTES.map(abs)),
        certain_until=sent_at + draw(MINUTES.map(abs)),
        until=sent_at + timedelta(minutes=15),
    )


@given(intents(), candidates(), MINUTES)
def test_a_search_adopts_only_the_one_batch_that_must_be_ours(
    intent: Intent, found: list[Candidate], after: timedelta
) -> None:
    now = NOW + after
    certain = [each.batch for each in found if each.ids_digest == "ours" and is_certain(intent, each.batch)]
    waiting = [each.batch.id for each in found if each.ids_digest is None]
    match settle(intent, found, now=now):
        case Adopt(batch):
            assert certain == [batch]
        case WaitFor(batch_id):
            assert batch_id in waiting
        case Undecided(_, batch_ids):
            assert {each.batch.id for each in found if each.ids_digest == "ours"} >= set(batch_ids) != set()
        case KeepLooking():
            assert now < intent.until
            assert not waiting
        case NotSent():
            assert now >= intent.until
            assert not any(each.ids_digest in {None, "ours"} for each in found)


@given(
    st.none() | batches(),
    st.sampled_from(["same", "other"]),
    st.sampled_from(["fail", "cancel", "keep"]),
    st.booleans(),
    st.integers(0, 1),
)
def test_a_retry_never_pays_again_unless_the_user_says_so(
    batch: MessageBatch | None, fingerprint: str, on_changed: Any, resubmit: bool, generation: int
) -> None:
    record = Record(
        receipt=Receipt.of(sent(), batch or MessageBatch.model_validate({"id": "b", "processing_status": ""}))
    )
    attempt = Attempt(on_changed=on_changed, resubmit=resubmit, generation=generation)
    asked_for = generation != record.generation
    match outcome(lambda: next_step(record, batch, sent(fingerprint), attempt)):
        case Receipt() as receipt:
            assert receipt.batch_id == "b"
            assert fingerprint == "same", "the answers to other requests"
        case RequestsChanged():
            assert fingerprint == "other"
            assert not asked_for
        case Send(replaces, warning):
            assert warning, "a second bill without a word"
            paid = batch is not None and not is_useless(batch)
            assert not paid or asked_for or on_changed != "fail", "a retry pays again"
            assert not paid or fingerprint == "other" or resubmit or (batch is not None and is_canceled(batch))
            if replaces is not None:
                assert batch is not None
                assert on_changed != "keep"
                assert not is_canceled(batch)
