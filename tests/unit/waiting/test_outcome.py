"""The value between trigger and operator: the same on both sides, whatever version wrote it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import InvalidRequest, MessageBatch
from airflow_batches.api.polling import StopReason, Watch
from airflow_batches.waiting.outcome import MAX_MESSAGE, Counts, Ending, Outcome, next_step, outcome_of

STATES = ("processing", "succeeded", "errored", "canceled", "expired", "other")
COUNTS = st.builds(Counts, known=st.booleans(), **{state: st.integers(0, 100_000) for state in STATES})
OUTCOMES = st.builds(
    Outcome,
    ending=st.sampled_from(Ending),
    batch_id=st.text(),
    status=st.text(),
    counts=COUNTS,
    message=st.text(max_size=MAX_MESSAGE),
)
EVENT = {
    "ending": "ended",
    "batch_id": "msgbatch_1",
    "status": "ended",
    "counts": {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0},
    "message": "",
}


@given(OUTCOMES)
def test_an_outcome_crosses_as_json(outcome: Outcome) -> None:
    assert Outcome.from_event(json.loads(json.dumps(outcome.to_event()))) == outcome


def test_the_event_is_what_airflow_stores() -> None:
    outcome = Outcome(ending=Ending.ENDED, batch_id="msgbatch_1", status="ended", counts=Counts(succeeded=2, errored=1))
    assert outcome.to_event() == EVENT
    assert all(type(value) in {str, dict} for value in outcome.to_event().values())


def test_a_message_of_any_length_is_cut_in_the_event() -> None:
    event = Outcome(ending=Ending.GAVE_UP, batch_id="b", message="x" * 1_000_000).to_event()
    assert len(json.dumps(event)) < MAX_MESSAGE + 500


def test_an_event_of_an_older_version_lacks_some_fields() -> None:
    assert Outcome.from_event({"ending": "timed_out", "batch_id": "b"}) == Outcome(
        ending=Ending.TIMED_OUT, batch_id="b"
    )
    fewer = Outcome.from_event(EVENT | {"counts": {"succeeded": 7}})
    assert fewer.counts == Counts(succeeded=7)


def test_an_event_of_a_newer_version_has_fields_that_nobody_knows_here() -> None:
    newer = EVENT | {"cost": {"usd": 1.5}, "counts": {**EVENT["counts"], "deferred": 3}}  # type: ignore[dict-item]
    assert Outcome.from_event(newer) == Outcome.from_event(EVENT)


def test_an_ending_of_a_newer_version_is_unreadable_and_keeps_its_batch() -> None:
    outcome = Outcome.from_event(EVENT | {"ending": "suspended"})
    assert (outcome.ending, outcome.batch_id) == (Ending.UNREADABLE, "msgbatch_1")
    assert "suspended" in outcome.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*EVENT, *Counts.__dataclass_fields__, "other"]), inner, max_size=6)
    ),
    max_leaves=12,
)
CLOSE = st.dictionaries(st.sampled_from([*EVENT]), JSON).map(lambda changes: EVENT | changes)


@given(JSON | CLOSE)
def test_no_event_is_too_odd_to_read(event: Any) -> None:
    outcome = Outcome.from_event(event)
    assert isinstance(outcome.batch_id, str)
    if outcome.ending is Ending.UNREADABLE and event != outcome.to_event():
        assert "not one of ours" in outcome.message or event.get("ending") == "unreadable"
    assert all(isinstance(count, int) for count in vars(outcome.counts).values())
    assert len(outcome.to_event()["message"]) <= MAX_MESSAGE


@pytest.mark.parametrize(
    "event",
    [None, "ended", 5, [], {}, {"ending": None}, {"ending": ["ended"]}, {"status": "success"}, {"ending": "ended"}]
    + [EVENT | {"counts": counts} for counts in (None, "many", [1], {"succeeded": "2"}, {"succeeded": 1e300})]
    + [{1: 2}, {"ending": "ended", "batch_id": {"a": 1}}, object()],
)
def test_what_is_no_outcome_is_unreadable_and_says_what_it_was(event: Any) -> None:
    outcome = Outcome.from_event(event)
    assert outcome.ending is Ending.UNREADABLE
    assert str(event)[:50] in outcome.message


@given(COUNTS)
def test_counts_add_up(counts: Counts) -> None:
    assert counts.total == counts.processing + counts.finished
    assert counts.finished == counts.succeeded + counts.failed
    assert counts.failed == counts.errored + counts.canceled + counts.expired + counts.other


def test_counts_name_what_there_is() -> None:
    assert str(Counts(succeeded=95_000, errored=2, expired=1)) == "95,000 succeeded, 2 errored, 1 expired"
    assert str(Counts(succeeded=1, other=2)) == "1 succeeded, 2 other"
    assert str(Counts()) == "no requests"
    assert str(Counts(known=False)) == "unknown counts"
    assert str(Counts(succeeded=5, known=False)) == "counts that cannot be read: 5 succeeded"


def test_counts_that_are_unknown_stay_so_in_the_event() -> None:
    outcome = Outcome(ending=Ending.ENDED, batch_id="b", status="ended", counts=Counts(other=3, known=False))
    assert Outcome.from_event(outcome.to_event()).counts == Counts(other=3, known=False)


def test_an_outcome_keeps_the_counts_and_what_is_in_no_known_state() -> None:
    counts = {"processing": 1, "succeeded": 2, "errored": 3, "canceled": 4, "expired": 5, "deferred": 6}
    seen = MessageBatch.model_validate({"id": "b", "processing_status": "ended", "request_counts": counts})
    outcome = outcome_of(seen, Ending.ENDED, "why")
    assert outcome.counts == Counts(processing=1, succeeded=2, errored=3, canceled=4, expired=5, other=6)
    assert (outcome.status, outcome.message) == ("ended", "why")


@pytest.mark.parametrize("counts", [None, {}, "none", {"succeeded": 5, "errored": None}])
def test_an_end_whose_counts_cannot_be_read_is_an_end_with_unknown_counts(counts: object) -> None:
    seen = MessageBatch.model_validate({"id": "b", "processing_status": "ended", "request_counts": counts})
    decision = next_step(Watch(batch_id="b", since=0.0), seen, now=0.0)
    assert isinstance(decision, Outcome)
    assert decision.ending is Ending.ENDED
    assert not decision.counts.known
    assert Outcome.from_event(decision.to_event()) == decision


def test_the_end_of_a_wait_without_a_batch_names_the_batch_and_the_error() -> None:
    error = InvalidRequest("no key")
    outcome = next_step(Watch(batch_id="b", since=0.0), error, now=0.0)
    assert outcome == Outcome(ending=Ending.GAVE_UP, batch_id="b", message="no key")


def test_every_reason_to_stop_is_an_ending() -> None:
    assert {Ending(reason) for reason in StopReason} == set(Ending) - {Ending.UNREADABLE}
