"""Which rule applies to a request: the first that matches, has its share of it, and is not exhausted.

The shares of the settings (`errored_share` and others) are rules behind the user's. All rules with shares look at one
number of the custom_id, drawn by id and seed, and each takes the part of the numbers that follows the one before: so
0.1 and 0.2 are 30 % together, and the same requests on every run.
"""

from __future__ import annotations

import fnmatch
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final

import msgspec

from airflow_batches.emulator.rules import Rule, RuleRequest
from airflow_batches.emulator.settings import Settings

_PATTERN: Final = re.compile(r"[*?\[]")


class RuleError(Exception):
    """A function of a rule raised, or returned what is no answer; the create is refused."""


class RuleBook:
    """The rules of an emulator, and how often each has applied."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        """Take the rules.

        :raises TypeError: for a value that is not a Rule, with its number from 1.
        """
        for number, rule in enumerate(rules, 1):
            if not isinstance(rule, Rule):
                raise TypeError(f"rule {number}: a Rule, not {rule!r}")
        self.rules = tuple(rules)
        self._lock = threading.Lock()
        self._applied: Counter[int] = Counter()
        self._applied_to: Counter[tuple[int, str]] = Counter()
        self._by_id: dict[str, list[int]] = {}
        self._patterns: list[tuple[int, Callable[[str], Any]]] = []
        for place, rule in enumerate(self.rules):
            if _PATTERN.search(rule.custom_id):
                self._patterns.append((place, re.compile(fnmatch.translate(rule.custom_id)).match))
            else:
                self._by_id.setdefault(rule.custom_id, []).append(place)

    def applied(self) -> list[int]:
        """Return how many requests each rule has applied to."""
        with self._lock:
            return [self._applied[place] for place in range(len(self.rules))]

    def matching(self, custom_id: str) -> list[int]:
        """Return the places of the rules whose custom_id matches, in order."""
        found = [place for place, matches in self._patterns if matches(custom_id)]
        return sorted(found + self._by_id[custom_id]) if custom_id in self._by_id else found

    def claim(self, place: int, custom_id: str) -> bool:
        """Count a request for a rule, unless the rule is exhausted."""
        rule = self.rules[place]
        with self._lock:
            if rule.times is not None and self._applied[place] >= rule.times:
                return False
            if rule.times_per_id is not None:
                if self._applied_to[place, custom_id] >= rule.times_per_id:
                    return False
                self._applied_to[place, custom_id] += 1
            self._applied[place] += 1
            return True

    def release(self, place: int, custom_id: str) -> None:
        """Take back a claim: the batch was not created."""
        with self._lock:
            self._applied[place] -= 1
            if self.rules[place].times_per_id is not None:
                self._applied_to[place, custom_id] -= 1


class Decisions:
    """The rules as they apply to the requests of one create."""

    def __init__(self, book: RuleBook, settings: Settings) -> None:
        self._book = book
        self._shares = share_rules(settings)
        self._key = str(settings.seed).encode()
        self._claims: list[tuple[int, str]] = []

    @property
    def any(self) -> bool:
        """Whether there is any rule at all."""
        return bool(self._book.rules or self._shares)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Take back all claims when the block fails, because the batch was not created then."""
        try:
            yield
        except BaseException:
            for place, custom_id in self._claims:
                self._book.release(place, custom_id)
            raise

    def rule(self, custom_id: str, params: msgspec.Raw) -> tuple[str, Rule] | None:
        """Return the rule for a request with its name, or None. Raises RuleError."""
        drawn, taken = -1.0, 0.0
        for place, rule in self._candidates(custom_id):
            if rule.where is not None and not self._holds(place, rule, custom_id, params):
                continue
            if rule.share < 1:
                drawn = self._draw(custom_id) if drawn < 0 else drawn
                start, taken = taken, taken + rule.share
                if not start <= drawn < taken:
                    continue
            if place is None or self._claim(place, custom_id):
                return _name(place), rule
        return None

    def _candidates(self, custom_id: str) -> Iterator[tuple[int | None, Rule]]:
        rules = self._book.rules
        for place in self._book.matching(custom_id) if rules else ():
            yield place, rules[place]
        for rule in self._shares:
            yield None, rule

    def _holds(self, place: int | None, rule: Rule, custom_id: str, params: msgspec.Raw) -> bool:
        try:
            return bool(rule.where and rule.where(rule_request(custom_id, params)))
        except Exception as error:
            raise RuleError(f"{_name(place)}: where raised {error!r} for the request {custom_id}") from error

    def _claim(self, place: int, custom_id: str) -> bool:
        if claimed := self._book.claim(place, custom_id):
            self._claims.append((place, custom_id))
        return claimed

    def _draw(self, custom_id: str) -> float:
        digest = blake2b(custom_id.encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest) / 2**64


def _name(place: int | None) -> str:
    return "a share of the settings" if place is None else f"rule {place + 1}"


def share_rules(settings: Settings) -> list[Rule]:
    """Return the settings' shares as rules."""
    shares = (
        Rule(
            outcome="errored",
            share=settings.errored_share,
            error_type=settings.errored_type,
            error_message=settings.errored_message,
        ),
        Rule(outcome="expired", share=settings.expired_share),
        Rule(outcome="invalid_output", share=settings.invalid_output_share),
    )
    return [rule for rule in shares if rule.share > 0]


def rule_request(custom_id: str, params: msgspec.Raw) -> RuleRequest:
    return RuleRequest(custom_id, msgspec.json.decode(params))
