"""Checks of JSON values, made from smaller ones, that object in the words of the API.

The API validates with pydantic, and its messages are pydantic's (recorded live): the place of the value, a colon, and
what it should be. The place names the tag of a tagged object too: `thinking.enabled.budget_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_batches.emulator.refusal import Refused


class MemberPath(NamedTuple):
    """Where a value is. `beta`: the call names a beta, so unknown members and tags are not refused.

    Which beta allows which member is not modeled.
    """

    path: str
    beta: bool = False

    def __truediv__(self, name: str | int) -> MemberPath:
        return MemberPath(f"{self.path}.{name}", self.beta)


Check = Callable[[Any, MemberPath], None]


def anything(value: Any, at: MemberPath) -> None:
    """Accept every value."""


def string(value: Any, at: MemberPath) -> None:
    if not isinstance(value, str):
        raise Refused(f"{at.path}: Input should be a valid string")


def boolean(value: Any, at: MemberPath) -> None:
    if not isinstance(value, bool):
        raise Refused(f"{at.path}: Input should be a valid boolean")


def dictionary(value: Any, at: MemberPath) -> None:
    if not isinstance(value, dict):
        raise Refused(f"{at.path}: Input should be a valid dictionary")


def integer(least: int) -> Check:
    """Accept integers from `least`."""

    def check(value: Any, at: MemberPath) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused(f"{at.path}: Input should be a valid integer")
        if value < least:
            raise Refused(f"{at.path}: Input should be greater than or equal to {least}")

    return check


def matching(pattern: str) -> Check:
    """Accept strings that match the pattern as a whole."""
    compiled = re.compile(pattern)

    def check(value: Any, at: MemberPath) -> None:
        string(value, at)
        if not compiled.fullmatch(value):
            raise Refused(f"{at.path}: String should match pattern '{pattern}'")

    return check


def one_of(*values: str) -> Check:
    """Accept the given strings."""
    *most, last = map(repr, values)
    listed = f"{', '.join(most)} or {last}" if most else last

    def check(value: Any, at: MemberPath) -> None:
        if value not in values:
            raise Refused(f"{at.path}: Input should be {listed}")

    return check


def nullable(inner: Check) -> Check:
    """Accept null, and what `inner` accepts."""

    def check(value: Any, at: MemberPath) -> None:
        if value is not None:
            inner(value, at)

    return check


def items(inner: Check) -> Check:
    """Accept lists whose items `inner` accepts."""

    def check(value: Any, at: MemberPath) -> None:
        if not isinstance(value, list):
            raise Refused(f"{at.path}: Input should be a valid list")
        for number, item in enumerate(value):
            inner(item, at / number)

    return check


def text_or(inner: Check) -> Check:
    """Accept strings, and what `inner` accepts."""

    def check(value: Any, at: MemberPath) -> None:
        if not isinstance(value, str):
            inner(value, at)

    return check


@dataclass(frozen=True)
class Members:
    """Accepts objects with these members and no others."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check]

    def __call__(self, value: Any, at: MemberPath) -> None:
        dictionary(value, at)
        for name in self.required:
            if name not in value:
                raise Refused(f"{at.path}.{name}: Field required")
        for name, item in value.items():
            if check := self.required.get(name) or self.optional.get(name):
                check(item, at / name)
            elif not at.beta:
                raise Refused(f"{at.path}.{name}: Extra inputs are not permitted")


def variant(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Members:
    """Accept objects with these members besides their `type`."""
    return Members(required, {"type": anything, **optional})


@dataclass(frozen=True)
class Tagged:
    """Accepts objects whose `type` is one of the variants, and which that variant accepts."""

    variants: Mapping[str, Check]
    default: str | None = None

    def __call__(self, value: Any, at: MemberPath) -> None:
        dictionary(value, at)
        tag = value.get("type") or self.default
        if tag is None:
            raise Refused(f"{at.path}: Unable to extract tag using discriminator 'type'")
        if isinstance(tag, str) and tag in self.variants:
            self.variants[tag](value, at / tag)
        elif not at.beta:
            tags = ", ".join(map(repr, sorted(self.variants)))
            raise Refused(
                f"{at.path}: Input tag '{tag}' found using 'type' does not match any of the expected tags: {tags}"
            )
