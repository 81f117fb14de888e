"""Measure the package: `python -m tests.house [CHECKOUT]` prints the table.

| row                   | what it counts                                                                           |
|-----------------------|------------------------------------------------------------------------------------------|
| words                 | words of `tests.words` in docstrings, for 1,000 words of docstrings                      |
| comments              | lines with a comment, for 100 lines of code (lines without blanks, comments, docstrings) |
| circles               | modules that import each other in a circle, or folders that do (`tests.imports`)         |
| doubled classes       | class names that are defined in two files                                                |
| files, functions      | lines; a function's are counted without its docstring                                    |
| unexplained constants | numbers with an upper-case name whose docstring or comment does not say where they come from |
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Final, NamedTuple

from tests import imports
from tests.words import WORD

PACKAGE: Final = "airflow_batches"
ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = re.compile(
    r"\b(chosen|measured|reported|recorded|documented|docs|defaults?|imposed|SDK|API|Airflow|Anthropic|requests|"
    r"urllib3|fsspec|S3|SQLite|POSIX|RFC|shells?|issue \d+|because|so that)\b",
    re.IGNORECASE,
)
"""Words of which one occurs where the source of a number is named."""
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Size(NamedTuple):
    """The length of a file or function, and its place."""

    lines: int
    place: str


@dataclass(frozen=True)
class File:
    """A source file of the package; `name` is its path in the package."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def comments(self) -> set[int]:
        """The numbers of the lines with a comment."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}

    def docstrings(self) -> Iterator[ast.Expr]:
        """Yield docstrings, those of attributes and constants included."""
        for node in ast.walk(self.tree):
            for statement in getattr(node, "body", None) or () if isinstance(node, Documented) else ():
                if is_text(statement):
                    yield statement

    def code_lines(self) -> int:
        """Count the lines that are neither blank nor docstring nor only a comment."""
        prose = {line for each in self.docstrings() for line in range(each.lineno, (each.end_lineno or 0) + 1)}
        numbered = enumerate(self.lines, 1)
        return sum(1 for n, line in numbered if n not in prose and line.strip() and not line.lstrip().startswith("#"))

    def classes(self) -> set[str]:
        return {node.name for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)}

    def functions(self) -> Iterator[Size]:
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield Size(length(node) - docstring_length(node), f"{self.name}:{node.lineno} {node.name}")

    def unexplained(self) -> Iterator[str]:
        """Yield the constants that name no source of their value."""
        for node in ast.walk(self.tree):
            body = node.body if isinstance(node, ast.Module | ast.ClassDef) and not is_enum(node) else []
            for statement, following in pairwise([*body, ast.Pass()]):
                name = number_name(statement)
                if name and not SOURCE.search(self._explanation(statement, following)):
                    yield f"{self.name}:{statement.lineno} {name}"

    def _explanation(self, statement: ast.stmt, following: ast.stmt) -> str:
        """Return the comments above and beside a constant, and the docstring below."""
        above = takewhile(lambda line: line.lstrip().startswith("#"), reversed(self.lines[: statement.lineno - 1]))
        beside = self.lines[statement.lineno - 1 : statement.end_lineno]
        below = ast.get_source_segment(self.text, following) if is_text(following) else ""
        return "\n".join([*above, *(line.partition("#")[2] for line in beside), below or ""])


def is_enum(node: ast.Module | ast.ClassDef) -> bool:
    """Whether a class is an enumeration, whose numbers are only labels."""
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    return any(isinstance(base, ast.Name) and base.id.endswith("Enum") for base in bases)


def text_of(docstring: ast.Expr) -> str:
    return str(ast.literal_eval(docstring.value))


def is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def docstring_length(node: Function) -> int:
    return length(node.body[0]) if is_text(node.body[0]) else 0


def number_name(statement: ast.stmt) -> str | None:
    """Return the name of a constant that is a number or a duration, with or without arithmetic."""
    if isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value:
        target, value = statement.target, statement.value
    else:
        return None
    name = target.id if isinstance(target, ast.Name) else ""
    return name if name.strip("_").isupper() and is_number(value) else None


def is_number(value: ast.expr) -> bool:
    match value:
        case ast.Constant(value=number):
            return isinstance(number, int | float) and not isinstance(number, bool)
        case ast.BinOp(left=left, right=right):
            return is_number(left) and is_number(right)
        case ast.Call(func=ast.Name(id="timedelta"), keywords=keywords):
            return all(is_number(keyword.value) for keyword in keywords)
    return False


@dataclass(frozen=True)
class House:
    """A package's measurements.

    :param root: the folder that holds the package.
    """

    root: Path

    @cached_property
    def files(self) -> list[File]:
        folder = self.root / PACKAGE
        return [File(str(path.relative_to(folder)), path.read_text()) for path in sorted(folder.rglob("*.py"))]

    def words(self) -> list[str]:
        """Return the docstrings' words that `tests.words` forbids, with their places."""
        return [
            f"{file.name}:{each.lineno} {match[0]}"
            for file in self.files
            for each in file.docstrings()
            for match in WORD.finditer(text_of(each))
        ]

    def all_words(self) -> int:
        """Count the words of all docstrings."""
        texts = (text_of(each) for file in self.files for each in file.docstrings())
        return sum(len(re.findall(r"\w+", text)) for text in texts)

    def comments(self) -> float:
        """Return the lines with comments for 100 lines of code."""
        return 100 * sum(len(file.comments) for file in self.files) / sum(file.code_lines() for file in self.files)

    @cached_property
    def circles(self) -> imports.Circles:
        return imports.circles(self.root / PACKAGE)

    def doubled_classes(self) -> list[str]:
        places: dict[str, list[str]] = {}
        for file in self.files:
            for name in file.classes():
                places.setdefault(name, []).append(file.name)
        return [f"{name}: {', '.join(files)}" for name, files in sorted(places.items()) if len(files) > 1]

    def unexplained_constants(self) -> list[str]:
        return [each for file in self.files for each in file.unexplained()]

    def file_sizes(self) -> list[Size]:
        return [Size(len(file.lines), file.name) for file in self.files if file.text]

    def function_sizes(self) -> list[Size]:
        return [size for file in self.files for size in file.functions()]

    def folders(self) -> dict[str, int]:
        """Return the lines of each folder; those of the files beside them under "."."""
        lines: dict[str, int] = {}
        for file in self.files:
            folder = file.name.partition("/")[0] if "/" in file.name else "."
            lines[folder] = lines.get(folder, 0) + len(file.lines)
        return lines


def sizes(kind: str, found: list[Size]) -> str:
    median, longest = statistics.median(size.lines for size in found), max(found)
    return f"{kind}: {len(found)}, median {median:g} lines, max {longest.lines} ({longest.place})"


def listed(title: str, found: Iterable[str]) -> Iterator[str]:
    places = [*found]
    yield f"{title}: {len(places)}"
    yield from (f"    {place}" for place in places)


def table(house: House) -> Iterator[str]:
    """Yield the lines of the table."""
    words, circles = house.words(), house.circles
    yield f"forbidden words per 1,000 words of docstrings: {1000 * len(words) / house.all_words():.2f}"
    yield from (f"    {place}" for place in words)
    yield f"comment lines per 100 code lines: {house.comments():.1f}"
    yield from listed("circles of modules, imports at the top", circles.at_top)
    yield from listed("circles of modules, imports in functions", circles.in_functions)
    yield from listed("circles of folders", circles.of_folders)
    yield from listed("doubled class names", house.doubled_classes())
    yield sizes("files", house.file_sizes())
    yield sizes("functions", house.function_sizes())
    yield from listed("constants that do not say where their value comes from", house.unexplained_constants())
    yield f"lines: {sum(house.folders().values())}"
    yield from (f"    {folder} {lines}" for folder, lines in house.folders().items())


if __name__ == "__main__":
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    sys.stdout.write("".join(f"{line}\n" for line in table(House(checkout))))
