"""A create call becomes a batch: parse the body, check each line, store the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_batches.emulator import ids
from airflow_batches.emulator.cache import NO_CACHE
from airflow_batches.emulator.call import Call
from airflow_batches.emulator.clock import DAY, SECOND, micros
from airflow_batches.emulator.content import Prompt, answer, refused_line, with_cache
from airflow_batches.emulator.decisions import Decision, Decisions, Question, share_rules
from airflow_batches.emulator.errors import ErrorAnswer
from airflow_batches.emulator.lifecycle import StoredBatch, new_batch
from airflow_batches.emulator.lines import CheckedLine, Lines, Shape
from airflow_batches.emulator.ruled import UNANSWERED, ruled_line
from airflow_batches.emulator.rules import Rule
from airflow_batches.emulator.terms import Terms
from airflow_batches.emulator.validation import BatchRequest, not_json, parse_create
from airflow_batches.emulator.verdicts import Judge


def create_batch(call: Call) -> StoredBatch:
    """Create the batch. Raises ErrorAnswer: 400 for the envelope, 429 for a full queue."""
    requests = parse_create(call.payload, call.settings.max_requests)
    intake = _Intake(call)
    with intake.decisions.kept():
        try:
            lines = Lines.gather(intake.lines(requests))
        except (ValueError, RecursionError) as error:
            raise not_json(call.payload, error) from None
        return _store(call, lines, intake.latest)


def _store(call: Call, lines: Lines, latest: float) -> StoredBatch:
    """Store a batch whose latest line is `latest` seconds late."""
    settings, state = call.settings, call.state
    run_time = max(settings.processing_time, min(settings.processing_time + latest, DAY / SECOND))
    with state.store.changing():
        now = state.clock.micros()
        _keep_to_queue(call, len(lines.outcomes), now)
        batch = new_batch(
            ids.batch_id(),
            call.workspace,
            lines,
            now,
            micros(run_time),
            incremental=settings.incremental_counts,
            answer_chars=settings.answer_chars,
        )
        state.store.add(batch, lines)
    return batch


class _Intake:
    """Checks and answers the requests of one create; `latest` is the longest delay of a line, in seconds."""

    def __init__(self, call: Call) -> None:
        state, settings = call.state, call.settings
        self.decisions = Decisions(state.rules, state.answers, settings, shares=share_rules(settings))
        self.latest = 0.0
        self._workspace = call.workspace
        self._cache = call.state.cache
        self._now = call.state.clock.micros()
        self._longest = DAY / SECOND - call.settings.processing_time
        self._judge = Judge(Terms.of(call.head.headers, call.settings.models))
        self._cache.forget_expired(self._now)

    def lines(self, requests: Iterable[BatchRequest]) -> Iterator[tuple[str, CheckedLine]]:
        """Yield each line with its custom_id. Raises ValueError for params that are not JSON."""
        prompts, ruled = self._judge.prompt, self.decisions.any
        for request in requests:
            custom_id, prompt = request.custom_id, prompts(request.params)
            if isinstance(prompt, Shape):
                yield custom_id, refused_line(prompt)
            elif ruled or prompt.prefixes:
                yield custom_id, self._line(prompt, request)
            else:
                yield custom_id, answer(prompt, custom_id)

    def _line(self, prompt: Prompt, request: BatchRequest) -> CheckedLine:
        custom_id = request.custom_id
        decision = self._decision(prompt, request)
        cached = NO_CACHE
        if prompt.prefixes and (decision is None or decision.rule.outcome not in UNANSWERED):
            cached = self._cache.use(self._workspace, prompt.prefixes, self._now)
        if decision is None:
            return with_cache(answer(prompt, custom_id), cached)
        self.latest = max(self.latest, decision.rule.delay)
        return ruled_line(decision, prompt, custom_id, cached)

    def _decision(self, prompt: Prompt, request: BatchRequest) -> Decision | None:
        structured = prompt.plan.schema is not None
        decision = self.decisions.decide(Question(request.custom_id, request.params, structured=structured))
        if decision is not None and (delay := decision.rule.delay) > self._longest:
            return Decision(Rule(outcome="expired", delay=delay))
        return decision


def _keep_to_queue(call: Call, count: int, now: int) -> None:
    limit = call.settings.queue_limit
    if limit is None:
        return
    waiting = sum(r.total for r in call.state.store.all() if r.status(now) != "ended")
    if waiting + count > limit:
        raise ErrorAnswer(429, headers={"retry-after": str(call.settings.retry_after)})
