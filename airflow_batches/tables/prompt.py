"""Make the prompt of each row: from a text with `${column}`, or by a function.

| a function returns, or a text gives       | the request                                                      |
|-------------------------------------------|------------------------------------------------------------------|
| text                                      | one user turn with this text                                     |
| list of messages                          | these messages                                                   |
| mapping with `messages`                   | these params, over the job's defaults                            |
| None                                      | none: the row has no answer                                      |
| an empty text                             | as `on_empty_prompt`: none ("null"), or an error ("error")       |
| anything else                             | an error that names the file and the row                         |

In a text, `${name}` is the value of a column, whatever its name, as `rendering` writes it. `$$` is one dollar. All else
stays as it is: no Jinja, no format strings. A text is empty if it has only blanks, or if all columns that it names are
missing or blank in a row: the words around them are no question.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import iscoroutine
from itertools import repeat
from typing import Any, Final, Literal

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.tables.rendering import Unwritable, objects, render
from airflow_batches.tables.row_batch import RowBatch

OnEmptyPrompt = Literal["null", "error"]
"""What to do with a row whose prompt is empty."""
Made = str | Mapping[str, Any] | None
"""What a prompt makes of a row: the text of a user turn, params, or nothing."""
PLACE: Final = re.compile(r"\$\$|\$\{([^{}]+)\}")


class RowPrompt(ABC):
    """Prompts of rows. `columns` are those that it needs; None: it does not say.

    Example::

        prompt = RowPrompt.of("Translate to French: ${text}")
        print(prompt.columns)  # ['text']
    """

    columns: Sequence[str] | None = None

    @staticmethod
    def of(given: Any) -> RowPrompt:
        """Return the prompt that a user gives.

        :param given: a text with `${column}`, or a function of a row, which is a dict.
        :raises InvalidRequest: it is neither, or a text that names no column.
        """
        if isinstance(given, RowPrompt):
            return given
        if isinstance(given, str):
            return TextPrompt(given)
        if callable(given):
            return FunctionPrompt(given)
        raise InvalidRequest(f"prompt must be a text with ${{column}} or a function, not {type(given).__name__}")

    @abstractmethod
    def make(self, batch: RowBatch, on_empty: OnEmptyPrompt = "null") -> list[Made]:
        """Return the prompt of each row of a batch.

        :param batch: the rows, with the columns that the prompt needs.
        :param on_empty: what to do with a row whose prompt is empty.
        :raises PromptError: a row has none.
        """


class TextPrompt(RowPrompt):
    """A text with places for columns."""

    columns: Sequence[str]

    def __init__(self, text: str) -> None:
        self._parts = [*_parts(text)]
        self.columns = list(dict.fromkeys(name for _, name in self._parts if name is not None))
        if not self.columns:
            raise InvalidRequest(
                f"the prompt {text[:60]!r} names no column, so that every row would be the same request; write "
                "${column} where a row's value belongs"
            )

    def make(self, batch: RowBatch, on_empty: OnEmptyPrompt = "null") -> list[Made]:
        """Write the values of each row into the text."""
        values = {name: [text or "" for text in _rendered(batch, name)] for name in self.columns}
        pieces: list[Iterable[str]] = []
        for words, name in self._parts:
            pieces += [repeat(words)] if words else []
            pieces += [values[name]] if name is not None else []
        texts = map("".join, zip(*pieces, strict=False))
        full = zip(*([text and not text.isspace() for text in column] for column in values.values()), strict=True)
        return _not_empty(batch, [*texts], [*map(any, full)], on_empty)


class FunctionPrompt(RowPrompt):
    """A function of a row."""

    def __init__(self, function: Callable[[dict[str, Any]], Any]) -> None:
        self._function = function

    def make(self, batch: RowBatch, on_empty: OnEmptyPrompt = "null") -> list[Made]:
        """Call the function with each row."""
        made = [self._call(batch, index, row) for index, row in enumerate(_dicts(batch.data))]
        full = [not isinstance(each, str) or not (not each or each.isspace()) for each in made]
        return _not_empty(batch, made, full, on_empty)

    def _call(self, batch: RowBatch, index: int, row: dict[str, Any]) -> Made:
        try:
            found = self._function(row)
        except Exception as exc:  # a user's function raises anything
            column = _missing_column(exc, batch)
            hint = f"; the rows have {', '.join(map(repr, row))}" if column else ""
            reason = f"the prompt function raised {type(exc).__name__}: {exc}{hint}"
            raise batch.error(index, reason, column) from exc
        if found is None or isinstance(found, str):
            return found
        return _params(found, batch, index)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield the words before each place with the column of the place; None where there is no place."""
    end = 0
    for found in PLACE.finditer(text):
        yield text[end : found.start()], found[1]
        if found[1] is None:
            yield "$", None
        end = found.end()
    yield text[end:], None


def _rendered(batch: RowBatch, name: str) -> Sequence[str | None]:
    try:
        return render(batch.data.column(name))
    except Unwritable as exc:
        raise batch.error(exc.index, str(exc), name) from exc


def _not_empty(batch: RowBatch, made: Sequence[Made], full: Sequence[bool], on_empty: OnEmptyPrompt) -> list[Made]:
    if all(full):
        return [*made]
    if on_empty == "error":
        for index, (each, is_full) in enumerate(zip(made, full, strict=True)):
            if each is not None and not is_full:
                reason = 'the prompt is empty; on_empty_prompt="null" leaves such rows without an answer'
                raise batch.error(index, reason)
    return [each if is_full else None for each, is_full in zip(made, full, strict=True)]


def _dicts(data: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = data.schema.names
    columns = [objects(column) for column in data.columns]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _missing_column(error: Exception, batch: RowBatch) -> str | None:
    """Return the column that the function asked for in vain, as far as its error tells."""
    name = error.args[0] if isinstance(error, KeyError) and error.args else None
    return name if isinstance(name, str) and name not in batch.data.schema.names else None


def _params(found: Any, batch: RowBatch, index: int) -> Mapping[str, Any]:
    if isinstance(found, Mapping):
        if "messages" in found:
            return found
        hint = "a single message: return a list of messages" if "role" in found else "an object without messages"
        raise batch.error(index, f"the prompt function returned {hint}")
    if isinstance(found, list | tuple) and found and all(isinstance(message, Mapping) for message in found):
        return {"messages": list(found)}
    if iscoroutine(found):
        found.close()
    raise batch.error(
        index,
        f"the prompt function returned {type(found).__name__}; return a text, a list of messages, params with "
        "messages, or None",
    )
