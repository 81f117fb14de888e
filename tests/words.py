"""Words that the project's prose does without: `python -m tests.words` lists where they stand.

Prose is docstrings, comments and text in quotes. Objects are "it"; sentences are modern.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("airflow_batches", "tests", "example_dags", "benchmarks")
ARCHAIC: Final = (
    "whoever", "whomever", "whosever", "nobody", "somebody", "anybody", "thereof", "thereby", "therein", "whence",
    "hence", "thus", "lest", "hither", "whither", "henceforth", "unbeknown", "amends", "torso", "torsos", "strangers",
    "he", "his", "him", "himself", "she", "her", "hers", "herself", "manieth", "barks", "barked", "buries",
)  # fmt: skip
PROSE: Final = frozenset({"STRING", "COMMENT", "FSTRING_MIDDLE"})
WORD: Final = re.compile(rf"\b(?:{'|'.join(ARCHAIC)})\b", re.IGNORECASE)


class Found(NamedTuple):
    """One word, and where it stands."""

    path: Path
    line: int
    word: str


def words_in(path: Path) -> Iterator[Found]:
    """Find the words in a file's prose."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if tokenize.tok_name[token.type] in PROSE:
            for number, line in enumerate(token.string.splitlines(), token.start[0]):
                yield from (Found(path, number, match[0]) for match in WORD.finditer(line))


def words() -> list[Found]:
    """Find the words in the whole project; this file, which lists them, is left out."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]
    return [found for path in files for found in words_in(path)]


if __name__ == "__main__":
    found = words()
    for each in found:
        sys.stdout.write(f"{each.path.relative_to(ROOT)}:{each.line}: {each.word}\n")
    sys.exit(f"{len(found)} words" if found else 0)
