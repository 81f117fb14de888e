"""Compare results with the batch."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_batches.api.digest import ids_digest
from airflow_batches.landing.mismatch import NAMED, Mismatch
from airflow_batches.landing.verify import Expectation, SubmittedIds, compare, with_names

COUNTS = {"succeeded": 3, "errored": 1, "canceled": 0, "expired": 0}


def compared(
    ids: list[str], types: dict[str, int], *, doubled: list[str] | None = None, receipt: list[str] | None = None
) -> Mismatch | None:
    sent = None if receipt is None else SubmittedIds(ids_digest(receipt))
    expected = Expectation(counts=COUNTS, total=4, submitted=sent)
    return compare(expected, types, ids, doubled or [])


def sentences(mismatch: Mismatch | None) -> list[str]:
    assert mismatch is not None
    return mismatch.sentences()


def test_complete_results_are_no_mismatch() -> None:
    assert compared(["a", "b", "c", "d"], {"succeeded": 3, "errored": 1}) is None
    assert compared(["a", "b", "c", "d"], {"succeeded": 3, "errored": 1}, receipt=["d", "c", "b", "a"]) is None


def test_unknown_types_count_as_known_ones() -> None:
    assert compared(["a", "b", "c", "d"], {"succeeded": 2, "errored": 1, "future": 1}) is None


def test_missing_ids_are_counted() -> None:
    assert sentences(compared(["a", "b"], {"succeeded": 2})) == ["2 missing"]


def test_types_that_occur_too_often_are_reported_with_both_numbers() -> None:
    assert sentences(compared(["a", "b", "c", "d"], {"succeeded": 2, "errored": 2})) == ["2 errored instead of 1"]


def test_one_foreign_id_is_counted() -> None:
    ids, types = ["a", "b", "c", "d", "x"], {"succeeded": 4, "errored": 1}
    assert sentences(compared(ids, types, receipt=["a", "b", "c", "d"]))[0] == "1 foreign"
    assert sentences(compared(ids, types))[0] == "1 foreign"


def test_several_foreign_ids_are_counted() -> None:
    ids = ["a", "b", "c", "d", "x", "y"]
    mismatch = compared(ids, {"succeeded": 3, "errored": 3}, receipt=["a", "b", "c", "d"])
    assert sentences(mismatch) == ["2 foreign", "3 errored instead of 1"]


def test_a_receipt_alone_names_no_missing_id() -> None:
    assert sentences(compared(["a", "b", "c"], {"succeeded": 3}, receipt=["a", "b", "c", "d"])) == ["1 missing"]


def test_an_id_that_replaces_another_is_named_with_it() -> None:
    sent, came = ["a", "b", "c", "d"], ["a", "b", "c", "x"]
    mismatch = compared(came, {"succeeded": 3, "errored": 1}, receipt=sent)
    assert sentences(mismatch) == ["the custom_ids are not those that were sent"]
    assert mismatch is not None
    expected = Expectation(counts=COUNTS, total=4, submitted=SubmittedIds(ids_digest(sent)))
    assert sentences(with_names(mismatch, came, sent, expected)) == ["1 missing (d)", "1 foreign (x)"]


def test_other_ids_in_the_right_number_are_reported() -> None:
    mismatch = compared(["a", "b", "x", "y"], {"succeeded": 3, "errored": 1}, receipt=["a", "b", "c", "d"])
    assert sentences(mismatch) == ["the custom_ids are not those that were sent"]


@pytest.mark.parametrize("came", [["a", "b"], ["x", "y", "b", "a"], ["b", "a", "x", "y", "z"]])
def test_the_submitted_ids_name_all(came: list[str]) -> None:
    sent = ["d", "a", "c", "b"]
    mismatch = compared(came, {}, receipt=sent)
    assert mismatch is not None
    expected = Expectation(counts=COUNTS, total=4, submitted=SubmittedIds(ids_digest(sent)))
    missing, *foreign = sentences(with_names(mismatch, came, sent, expected))
    assert missing == "2 missing (d, c)"
    assert foreign == ([f"{len(came) - 2} foreign ({', '.join(sorted({*came} - {*sent}))})"] if len(came) > 2 else [])


def test_a_long_list_of_ids_is_cut_visibly() -> None:
    sent = [f"id-{number:02}" for number in range(NAMED + 1)]
    expected = Expectation(counts={}, total=len(sent))
    (said,) = sentences(with_names(Mismatch(missing=len(sent)), [], sent, expected))
    assert said == f"{len(sent)} missing ({', '.join(sent[:NAMED])}, …)"


def test_invalid_ids_are_printed_in_ascii_and_cut() -> None:
    told = Mismatch(foreign=2, foreign_ids=("\x1b[31m\nx", "y" * 100)).sentences()
    assert told == [rf"2 foreign (\x1b[31m\nx, {'y' * 64})"]


@pytest.mark.parametrize(
    "now",
    [["w", "x", "y", "z"], ["a", "b", "c", "x"], ["a", "b", "c", "c"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]],
)
@pytest.mark.parametrize("proven", [True, False])
def test_ids_that_cannot_be_the_submitted_ones_name_no_id(now: list[str], proven: bool) -> None:
    sent, came = ["a", "b", "c", "d"], ["a", "b", "d"]
    expected = Expectation(counts=COUNTS, total=4, submitted=SubmittedIds(ids_digest(sent)) if proven else None)
    mismatch = compare(expected, {}, came, [])
    assert mismatch is not None
    assert with_names(mismatch, came, now, expected) is None


@given(st.lists(st.text(min_size=1), unique=True, min_size=1), st.lists(st.text(min_size=1), unique=True))
def test_only_ids_that_are_missing_or_foreign_are_named(sent: list[str], came: list[str]) -> None:
    assume(sorted(sent) != sorted(came))
    expected = Expectation(counts={}, total=len(sent), submitted=SubmittedIds(ids_digest(sent)))
    mismatch = compare(expected, {}, came, [])
    assert mismatch is not None
    assert (mismatch.missing_ids, mismatch.foreign_ids) == ((), ())
    named = with_names(mismatch, came, sent, expected)
    assert named is not None
    assert {*named.missing_ids} <= {*sent} - {*came}
    assert {*named.foreign_ids} <= {*came} - {*sent}


def test_doubled_ids_are_named_up_to_a_limit() -> None:
    many = [f"id-{number:02}" for number in range(NAMED + 5)]
    mismatch = compared(["a", "b", "c", "d"], {"succeeded": 3, "errored": 1}, doubled=many)
    assert mismatch is not None
    assert (mismatch.doubled, mismatch.doubled_ids) == (NAMED + 5, tuple(many[:NAMED]))
