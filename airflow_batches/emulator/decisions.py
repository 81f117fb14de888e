"""What the rules say about a request: who decides, and with which answer.

    asked in this order                         what it decides
    ------------------------------------------  -------------------------------------------------------------
    the user's rules                            the first that matches, has its share of it, is not exhausted
    the shares of the settings                  the same: they are rules too (not for single messages)
    the user's answers                          the answer, where the rule that applies has none, or none does
    the emulator itself (`content`)             the answer, where these have none

All rules with shares look at one number of the request, drawn by custom_id (of a single message, by its params) and
seed, and each takes the part of the numbers that follows the one before: so 0.1 and 0.2 are 30 % together, and the same
requests on every run.

A function that raises, or returns what is no answer, errors its request; the log says which one.
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from airflow_batches.emulator.given import Given, Request, answer_fault, error_of
from airflow_batches.emulator.rulebook import RuleBook
from airflow_batches.emulator.rules import Rule, named
from airflow_batches.emulator.settings import Settings

_LOG: Final = logging.getLogger(__name__)
_LOGGED: Final = 10
"""Failures of functions that are logged of one call; chosen: a batch of 100,000 must not write as many lines."""
_ANY: Final = "*"
_PLAIN: Final = Rule()


class Decision(NamedTuple):
    """The rule for a request, and the answer given for it; None: the emulator's own."""

    rule: Rule
    given: Given | None = None


class Question:
    """A request that rules look at; its params are decoded once, and only if a rule asks for more than the id."""

    def __init__(self, custom_id: str, raw: msgspec.Raw, *, structured: bool = False) -> None:
        """Take a request. `structured`: it asks for JSON of a schema."""
        self.custom_id = custom_id
        self.raw = raw
        self.structured = structured

    @cached_property
    def request(self) -> Request:
        return {"custom_id": self.custom_id, "params": msgspec.json.decode(self.raw)}

    def matches(self, rule: Rule) -> bool:
        """Return whether the model and the texts are those of the rule."""
        if rule.model != _ANY and not fnmatch.fnmatchcase(str(self.request["params"].get("model")), rule.model):
            return False
        return rule.text is None or any(rule.text in text for text in _texts(self.request["params"]))


class _Failed(Exception):
    """A function of a rule failed."""


class Decisions:
    """The rules as they apply to the requests of one call.

    :param shares: rules behind those of the book.
    :param without: outcomes of which no rule applies.
    """

    def __init__(
        self,
        rules: RuleBook,
        answers: RuleBook,
        settings: Settings,
        *,
        shares: Sequence[Rule] = (),
        without: Sequence[str] = (),
    ) -> None:
        self._rules = rules
        self._answers = answers
        self._shares = shares
        self._without = without
        self._key = str(settings.seed).encode()
        self._claims: list[tuple[RuleBook, int, str]] = []
        self._failures = 0

    @property
    def any(self) -> bool:
        """Whether there is any rule or answer at all."""
        return bool(self._rules.rules or self._answers.rules or self._shares)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Take back all claims when the block fails, because the batch was not created then."""
        try:
            yield
        except BaseException:
            for book, place, custom_id in self._claims:
                book.release(place, custom_id)
            raise
        finally:
            if self._failures > _LOGGED:
                _LOG.error("functions of rules failed for %s more requests", f"{self._failures - _LOGGED:,}")

    def decide(self, asked: Question) -> Decision | None:
        """Return what the rules say; None: nothing."""
        try:
            name, rule = self._rule(asked)
            given = None if rule is None else _given(name, rule, asked)
            if given is None and (rule is None or _leaves_answer(rule, asked)):
                rule, given = self._usual(rule, asked)
        except _Failed as failed:
            self._note(failed, asked)
            return Decision(Rule(outcome="errored", error_type="api_error", error_message=str(failed)))
        if rule is None:
            return None
        error = error_of(given)
        return Decision(rule, given) if error is None else Decision(_error_rule(error, rule.delay))

    def _usual(self, rule: Rule | None, asked: Question) -> tuple[Rule | None, Given | None]:
        """Return the rule with the answer of the user's answers. Raises _Failed."""
        for name, place, answer in _named_rules(self._answers, asked):
            if _holds(name, answer, asked) and self._claim(self._answers, place, asked):
                return rule or _PLAIN, _given(name, answer, asked)
        return rule, None

    def _rule(self, asked: Question) -> tuple[str, Rule | None]:
        """Return the rule that applies, with its name. Raises _Failed."""
        drawn, taken = -1.0, 0.0
        for name, place, rule in self._candidates(asked):
            if rule.outcome in self._without or not _holds(name, rule, asked):
                continue
            if rule.share < 1:
                drawn = self._draw(asked) if drawn < 0 else drawn
                start, taken = taken, taken + rule.share
                if not start <= drawn < taken:
                    continue
            if place < 0 or self._claim(self._rules, place, asked):
                return name, rule
        return "", None

    def _candidates(self, asked: Question) -> Iterator[tuple[str, int, Rule]]:
        yield from _named_rules(self._rules, asked)
        for rule in self._shares:
            yield "", -1, rule

    def _claim(self, book: RuleBook, place: int, asked: Question) -> bool:
        if claimed := book.claim(place, asked.custom_id):
            self._claims.append((book, place, asked.custom_id))
        return claimed

    def _draw(self, asked: Question) -> float:
        drawn_by = asked.custom_id.encode() or bytes(asked.raw)
        return int.from_bytes(blake2b(drawn_by, digest_size=8, key=self._key).digest()) / 2**64

    def _note(self, failed: _Failed, asked: Question) -> None:
        """Log a failure, the first of a call with its traceback."""
        self._failures += 1
        if self._failures <= _LOGGED:
            cause = failed.__cause__ if self._failures == 1 else None
            _LOG.error("%s (request %r)", failed, asked.custom_id, exc_info=cause)


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


def _named_rules(book: RuleBook, asked: Question) -> Iterator[tuple[str, int, Rule]]:
    for place in book.matching(asked.custom_id) if book.rules else ():
        yield book.name(place), place, book.rules[place]


def _holds(name: str, rule: Rule, asked: Question) -> bool:
    return asked.matches(rule) and (rule.where is None or bool(_called(name, rule.where, asked)))


def _given(name: str, rule: Rule, asked: Question) -> Given | None:
    """Return the rule's answer; one that is a function is called. Raises _Failed."""
    if not callable(rule.answer):
        return rule.answer
    given: Given | None = _called(name, rule.answer, asked)
    fault = None if given is None else answer_fault(given)
    if fault is not None:
        raise _Failed(f"{name}: {named(rule.answer)} returned no answer: {fault}")
    return given


def _called(name: str, function: Callable[[Request], Any], asked: Question) -> Any:
    try:
        return function(asked.request)
    except Exception as error:
        raise _Failed(f"{name}: {named(function)} raised {error!r}") from error


def _leaves_answer(rule: Rule, asked: Question) -> bool:
    """Return whether a rule without an answer gets the usual one: it is not for it to have none, or a wrong one."""
    if rule.outcome == "invalid_output":
        return not asked.structured
    return rule.outcome == "succeeded" and rule.stop_reason != "refusal"


def _error_rule(error: Mapping[str, Any], delay: float) -> Rule:
    return Rule(
        outcome="errored",
        error_type=error["type"],
        error_message=error.get("message"),
        error_details=error.get("details"),
        delay=delay,
    )


def _texts(params: Any) -> Iterator[str]:
    """Yield the texts of the system prompt and the messages."""
    yield from _block_texts(params.get("system"))
    for message in params.get("messages") or ():
        yield from _block_texts(message.get("content"))


def _block_texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    blocks = content if isinstance(content, list) else ()
    for block in filter(lambda each: isinstance(each, dict), blocks):
        if isinstance(text := block.get("text"), str):
            yield text
        yield from _block_texts(block.get("content"))
