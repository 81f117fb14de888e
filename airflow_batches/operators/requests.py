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


class HasRequests:
    """A mixin with the templated field `requests`.

    Requests that Airflow has resolved are wrapped too.
    """

    @property
    def requests(self) -> Any:
        """None, a value that Airflow renders or resolves, or `Verbatim`."""
        return self._requests

    @requests.setter
    def requests(self, given: Any) -> None:
        given = path_text(given)
        as_it_is = given is None or isinstance(given, str | Verbatim) or is_reference(given)
        self._requests = given if as_it_is else Verbatim(given)

    @property
    def given(self) -> Any:
        """The requests without their wrapper."""
        return self.requests.given if isinstance(self.requests, Verbatim) else self.requests
