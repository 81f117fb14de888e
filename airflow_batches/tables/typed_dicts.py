"""TypedDicts of `typing` for pydantic, which on Python 3.11 takes only those of `typing_extensions`.

Those are made anew from the hints and the required members. A TypedDict within a model or a dataclass is left to
pydantic, whose error names the cure. Source: https://errors.pydantic.dev/2.11/u/typed-dict-version.
"""

from __future__ import annotations

import sys
import types
from typing import Annotated, Any, Final, Literal, NotRequired, Required, Union, get_args, get_origin, is_typeddict
from typing import get_type_hints as hints_of

import typing_extensions

NEEDED: Final = sys.version_info < (3, 12)


def for_pydantic(given: Any) -> Any:
    """Return a type with its TypedDicts as pydantic takes them.

    :param given: a type; a TypedDict, or one with TypedDicts as its parameters, such as `list[Item]`.
    """
    if not NEEDED:
        return given
    if is_typeddict(given) and type(given).__module__ == "typing":
        return _converted(given)
    origin, inner = get_origin(given), get_args(given)
    if origin is Annotated:
        return Annotated[(for_pydantic(inner[0]), *inner[1:])]
    if origin in {Union, types.UnionType}:
        return Union[tuple(map(for_pydantic, inner))]  # noqa: UP007  # made at run time
    if origin is None or origin is Literal or is_typeddict(origin):
        return given
    return origin[tuple(map(for_pydantic, inner))] if isinstance(given, types.GenericAlias) else given


def _converted(given: Any) -> Any:
    members = {name: for_pydantic(_bare(hint)) for name, hint in hints_of(given, include_extras=True).items()}
    marked = {name: hint if name in given.__required_keys__ else NotRequired[hint] for name, hint in members.items()}
    made = typing_extensions.TypedDict(given.__name__, marked)  # type: ignore[misc]  # made at run time
    made.__doc__ = given.__doc__
    return made


def _bare(hint: Any) -> Any:
    """Return a hint without `Required` and `NotRequired`, which `__required_keys__` holds too."""
    if get_origin(hint) in {Required, NotRequired}:
        return _bare(get_args(hint)[0])
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return Annotated[(_bare(inner), *notes)]
    return hint
