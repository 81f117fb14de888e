"""Requests as a task is given them: a URI is rendered, and prompts are kept where Airflow does not look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow.sdk import XComArg

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    _Base = BaseOperator
else:
    _Base = object

Requests: TypeAlias = Iterable[Mapping[str, Any]]
Given: TypeAlias = Requests | Callable[[], Requests] | Mapping[str, Any] | str | XComArg
"""A list or an iterable, a callable, a shard, a URI, or what another task gives."""


class Verbatim:
    """Requests that Airflow neither renders nor stores, as it would every prompt."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def __repr__(self) -> str:
        return f"{len(self.given):,} requests" if isinstance(self.given, list) else f"a {type(self.given).__name__}"


def verbatim(given: Any) -> Any:
    """What may be rendered as it is, all else out of sight."""
    return given if given is None or isinstance(given, str | XComArg | Verbatim) else Verbatim(given)


class HasRequests(_Base):
    """An operator with the templated field `requests`."""

    requests: Any

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Renders what may be rendered; what another task gave is then kept out of Airflow's sight as well."""
        super().render_template_fields(context, jinja_env)
        self.requests = verbatim(self.requests)

    @property
    def given(self) -> Any:
        """The requests themselves."""
        return self.requests.given if isinstance(self.requests, Verbatim) else self.requests
