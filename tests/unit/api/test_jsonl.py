"""Splitting: every chunking of the same bytes gives the same lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api.jsonl import split_lines

PIECES = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"{}",
        b'{"a":1}',
        b'"x',
        "\u2028".encode(),
        "\u2029".encode(),
        "\u0085".encode(),
        b"\x0b",
    ]
)
BODIES = st.lists(PIECES, max_size=12).map(b"".join)


def by_definition(body: bytes) -> list[bytes]:
    """Ends at newlines alone, one carriage return before them dropped, blanks left out."""
    lines = [line.removesuffix(b"\r") for line in body.split(b"\n")]
    return [line for line in lines if line.strip()]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in pairwise(at)]


@given(BODIES | st.binary(max_size=40), st.lists(st.integers(0, 200), max_size=8))
def test_lines_are_what_the_definition_says_however_the_body_is_cut(body: bytes, places: list[int]) -> None:
    assert [*split_lines(cut(body, places))] == by_definition(body)


@given(BODIES)
def test_byte_by_byte_and_with_empty_blocks_it_is_the_same(body: bytes) -> None:
    blocks = [block for byte in body for block in (b"", bytes([byte]))]
    assert [*split_lines(blocks)] == [*split_lines([body])]


@pytest.mark.parametrize("break_like", ["\u2028", "\u2029", "\u0085", "\r", "\x0b", "\x0c", "\x1c"])
def test_what_text_splitters_take_for_a_line_break_stays_inside_its_line(break_like: str) -> None:
    line = f'{{"text":"a{break_like}b"}}'.encode()
    assert [*split_lines([line + b"\n" + line])] == [line, line]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n\r\n \n\n", []),
        (b"\n{}\n\n[]\n\n", [b"{}", b"[]"]),
        (b"{}\r\n[]\r\n", [b"{}", b"[]"]),
        (b"{}\n[]", [b"{}", b"[]"]),
        (b'{}\n{"cut', [b"{}", b'{"cut']),
    ],
)
def test_blanks_are_skipped_and_a_last_line_needs_no_newline(body: bytes, lines: list[bytes]) -> None:
    assert [*split_lines([body])] == lines


def test_lines_come_as_soon_as_they_are_whole() -> None:
    taken: list[bytes] = []

    def blocks() -> object:
        for block in (b"{}\n[", b"]\n", b"1"):
            taken.append(block)
            yield block

    lines = split_lines(blocks())  # type: ignore[arg-type]  # a generator of bytes
    assert next(lines) == b"{}"
    assert len(taken) == 1
    assert [*lines] == [b"[]", b"1"]
