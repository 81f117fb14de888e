"""How rows become requests, and what is published of them. Only data, so that a DAG file that names it stays fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

Keep: TypeAlias = Literal["key", "all"] | Sequence[str]
"""Which columns of the rows are published: those of `key`, all, or these."""
OnEmptyPrompt: TypeAlias = Literal["null", "error"]
"""A row whose prompt is empty has no answer, or ends the job before anything is sent."""


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """How rows become requests.

    :param prompt: a text with `${column}` places, or a callable that returns for a row a text, messages, params, or
        None: no request.
    :param columns: the columns that a callable needs; None: all.
    :param key: the column or columns that identify a row.
    :param keep: the columns to publish beside the answers; None: those of `key`, or all without a key.
    :param output_type: a pydantic model, a dataclass, a TypedDict or a JSON schema that each answer must follow; None:
        answers are texts.
    :param dedupe: rows with equal requests share one.
    :param reuse: URI of an earlier job's folder, whose answers to equal requests are taken; None: none are.
    :param max_age: answers that landed longer ago are not taken; None: any are.
    :param on_empty_prompt: what becomes of rows whose prompt is empty.

    Example::

        RowOptions(prompt="Classify: ${text}", key="id", output_type=Label)
    """

    prompt: Any
    columns: Sequence[str] | None = None
    key: str | Sequence[str] | None = None
    keep: Keep | None = None
    output_type: Any = None
    dedupe: bool = True
    reuse: str | None = None
    max_age: timedelta | None = None
    on_empty_prompt: OnEmptyPrompt = "null"

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return () if self.key is None else (self.key,) if isinstance(self.key, str) else tuple(self.key)

    @property
    def kept(self) -> tuple[str, ...] | None:
        """The columns to publish; None: all."""
        keep = self.keep or ("key" if self.key is not None else "all")
        if keep == "all":
            return None
        return self.keys if keep == "key" else tuple(dict.fromkeys((*self.keys, *keep)))
