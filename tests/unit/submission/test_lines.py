"""Lines come in runs; each keeps its number, its bytes and the offset of its end, however the source is cut."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_batches.submission.lines import RUN_BYTES, line_runs
from airflow_batches.submission.plain import plain_requests
from airflow_batches.submission.shapes import member_problems
from tests.samples import some_requests

LENGTHS = st.one_of(st.integers(0, 40), st.integers(RUN_BYTES - 2, RUN_BYTES + 2), st.integers(0, 3 * RUN_BYTES))


@example(lengths=[RUN_BYTES - 1, RUN_BYTES, 0, 3 * RUN_BYTES], block=RUN_BYTES, ended=True)
@settings(deadline=None)
@given(
    lengths=st.lists(LENGTHS, min_size=1, max_size=8),
    block=st.one_of(st.integers(1_000, 4 * RUN_BYTES), st.just(RUN_BYTES)),
    ended=st.booleans(),
)
def test_each_line_comes_once_with_its_number_and_the_offset_of_its_end(
    lengths: list[int], block: int, ended: bool
) -> None:
    lines = [b"%d" % number + b"x" * length for number, length in enumerate(lengths)]
    data = b"\n".join(lines) + b"\n" * ended
    runs = [*line_runs(data[start : start + block] for start in range(0, len(data), block))]
    assert b"".join(run.data for run in runs) == data
    numbered = [line for run in runs for line in run.numbered()]
    assert [(number, raw) for number, _, raw in numbered] == [*enumerate(lines, 1)]
    for _, end, raw in numbered:
        assert data[:end].removesuffix(b"\n").endswith(raw)


def test_small_lines_come_many_at_once_and_a_long_one_by_itself() -> None:
    small, long = b"x" * 999 + b"\n", b"y" * 2 * RUN_BYTES + b"\n"
    runs = [*line_runs([small * 1_000 + long + small])]
    assert max(len(run.data) for run in runs if len(run.lines) > 1) <= RUN_BYTES
    assert len(runs) < 12
    assert [len(run.lines) for run in runs if long in run.data] == [1]


def test_lines_that_are_requests_only_together_are_not_taken_for_requests() -> None:
    two, split = (json.dumps(request).encode() for request in some_requests(2))
    head, tail = split.split(b", ", 1)
    lines = [two + two, head + b",", tail]
    assert plain_requests(b"\n".join(lines), lines, "claude-haiku-4-5") is None


def test_a_request_with_a_member_of_a_wrong_shape_is_checked_one_by_one() -> None:
    (request,) = some_requests(1)
    for sequences, is_plain in ((["END"], True), (["END", " "], False)):
        line = json.dumps({**request, "params": {**request["params"], "stop_sequences": sequences}}).encode()
        assert (plain_requests(line, [line], "claude-haiku-4-5") is not None) is is_plain


def test_a_schema_that_is_nested_too_deeply_is_left_to_the_api() -> None:
    nested = b'{"items":' * 5_000 + b"{}" + b"}" * 5_000
    assert member_problems("output_config", b'{"format":{"type":"json_schema","schema":' + nested + b"}}") == ()
