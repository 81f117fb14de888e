"""Numbers of distinct digests."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.tables.distinct import DistinctDigests


def digest(value: object) -> bytes:
    return sha256(str(value).encode()).digest()[:16]


@given(st.lists(st.lists(st.integers(0, 30)), max_size=10))
def test_equal_digests_have_equal_numbers_in_the_order_of_their_appearance(runs: list[list[int]]) -> None:
    digests, known = DistinctDigests(), dict[int, int]()
    for run in runs:
        assert digests.number([digest(value) for value in run]) == [
            known.setdefault(value, len(known) + 1) for value in run
        ]
    assert digests.count == len(known)


def test_numbers_stay_while_the_table_grows() -> None:
    digests = DistinctDigests()
    values = [digest(value) for value in range(50_000)]
    for start in range(0, len(values), 1000):
        assert digests.number(values[start : start + 1000]) == [*range(start + 1, start + 1001)]
    assert digests.number(values) == [*range(1, 50_001)]
    assert digests.number([digest("another"), values[0]]) == [50_001, 1]


def test_digests_that_want_the_same_slot_are_told_apart() -> None:
    digests = DistinctDigests()
    values = [bytes(8) + number.to_bytes(8, "little") for number in range(1, 300)]
    assert digests.number(values) == [*range(1, 300)]
    assert digests.number(values[::-1]) == [*range(299, 0, -1)]
