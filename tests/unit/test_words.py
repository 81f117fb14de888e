"""The project's prose is plain English."""

from __future__ import annotations

from pathlib import Path

from tests.words import ARCHAIC, words, words_in


def test_prose_holds_none_of_the_words_that_the_project_does_without() -> None:
    assert words() == []


def test_a_word_is_found_in_a_docstring_a_comment_and_a_message_and_not_in_a_name(tmp_path: Path) -> None:
    word = ARCHAIC[0]
    path = tmp_path / "sample.py"
    path.write_text(f'"""The {word.title()}."""\n{word} = 1  # {word}\nf"{word} {{{word}}}"\nf"{{{word}}}"\n')
    assert [(found.line, found.word) for found in words_in(path)][:3] == [(1, word.title()), (2, word), (3, word)]
