"""The requests of a task: a URI is rendered, prompts are neither rendered nor stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from airflow.sdk import XComArg

from airflow_batches._compat import is_reference
from airflow_batches._uri import path_text

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

Requests: TypeAlias = Iterable[Mapping[str, Any]]
Place: TypeAlias = Union[str, "os.PathLike[str]", "ObjectStoragePath"]
"""A URI, an absolute `pathlib.Path`, or an `ObjectStoragePath`."""
Given: TypeAlias = Requests | Callable[[], Requests] | Mapping[str, Any] | Place | XComArg
"""A list or an iterable, a callable, a shard, a place, or the output of another task."""


class Verbatim:
    """A wrapper for requests that keeps Airflow from rendering and storing every prompt."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def __repr__(self) -> str:
        return f"{len(self.given):,} requests" if isinstance(self.given, list) else f"a {type(self.given).__name__}"


class RequestsField:
    """A templated field of an operator that holds requests; Airflow neither renders nor stores those it resolves.

    It is None, what is still to be rendered or resolved, or `Verbatim`.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, operator: Any, owner: type | None = None) -> Any:
        return self if operator is None else getattr(operator, self._name)

    def __set__(self, operator: Any, given: Any) -> None:
        given = path_text(given)
        as_it_is = given is None or isinstance(given, str | Verbatim) or is_reference(given)
        setattr(operator, self._name, given if as_it_is else Verbatim(given))


def unwrapped(value: Any) -> Any:
    """Return the requests that a `RequestsField` holds."""
    return value.given if isinstance(value, Verbatim) else value
