"""A list of rules, looked up by custom_id, and how often each rule has applied."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from airflow_batches.emulator.rules import Rule

_PATTERN: Final = re.compile(r"[*?\[]")


class RuleBook:
    """The rules of an emulator, or its answers, and how often each has applied."""

    def __init__(self, rules: Sequence[Rule] = (), label: str = "rule") -> None:
        """Take the rules.

        :param label: what one of them is called in messages.
        :raises TypeError: for a value that is not a Rule, with its number from 1.
        """
        for number, rule in enumerate(rules, 1):
            if not isinstance(rule, Rule):
                raise TypeError(f"{label} {number}: a Rule, not {rule!r}")
        self.rules = tuple(rules)
        self.label = label
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

    def name(self, place: int) -> str:
        """Name a rule for a person, by its number from 1."""
        return f"{self.label} {place + 1}"

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
