"""One request warms the prompt cache for the others, in a batch of its own."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from airflow_batches.jobs import JobRefused
from airflow_batches.jobs.decision import JobLimits, JobView, decide
from airflow_batches.jobs.money import mean_cost
from airflow_batches.jobs.steps import Pause, SubmitShard
from airflow_batches.jobs.warming import cache_doubt
from airflow_batches.landing.usage import ModelUsage
from tests.unit.jobs.conftest import Job
from tests.unit.jobs.program import Terminal
from tests.unit.jobs.samples import NOW, batch, landed, ledger, shard
from tests.unit.jobs.test_decision import view

HOUR: Final = {"type": "ephemeral", "ttl": "1h"}
TEXT: Final = "All that is known about the matter. " * 1_000


def system(text: str = TEXT, **more: Any) -> list[dict[str, Any]]:
    """A system prompt whose end is marked, by default for an hour."""
    return [{"type": "text", "text": text, "cache_control": HOUR} | more]


def run(job: Job, prompts: list[Any] | None = None, **options: Any) -> Any:
    given = {"model": "claude-haiku-4-5", "defaults": {"max_tokens": 10, "system": system()}, "warm_cache": True}
    return job.run(prompts or [f"Question {number}" for number in range(9)], **{**given, **options})


def test_all_but_the_first_request_read_from_the_cache(job: Job) -> None:
    manifest = run(job, max_requests=4)
    assert [each.requests for each in manifest.batches] == [1, 4, 4]
    assert manifest.cached == 8
    (usage,) = manifest.usage.values()
    assert usage.cache_read_tokens == 8 * usage.cache_write_1h_tokens > 0


def test_the_request_goes_on_alone_until_it_has_ended(job: Job) -> None:
    job.emulator.configure(processing_time=300)
    most: list[int] = []
    job.clock.on_wait = lambda number: most.append(len(job.emulator.batches()))
    run(job)
    assert most[:3] == [1, 1, 1]


def test_the_others_are_sent_even_if_the_first_request_fails(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    job.emulator.configure(errored_share=1.0, errored_type="invalid_request_error")
    job.clock.on_wait = lambda number: job.emulator.configure(errored_share=0.0)
    job.emulator.configure(processing_time=30)
    manifest = run(job, max_failure_rate=0.2)
    assert manifest.counts == {"succeeded": 8, "errored": 1}
    assert "was to warm the cache, and wrote nothing to it" in caplog.text


def test_a_canary_warms_the_cache_and_is_judged_as_ever(job: Job) -> None:
    manifest = run(job, canary=3)
    assert [(each.canary, each.requests) for each in manifest.batches] == [(True, 3), (False, 6)]
    assert manifest.cached == 8


def test_a_prefix_that_is_too_short_is_said(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    manifest = run(job, defaults={"max_tokens": 10, "system": system("Short.")})
    assert manifest.cached == 0
    assert "its prefix is shorter than the model's minimum" in caplog.text


def test_one_request_has_nothing_to_warm(job: Job) -> None:
    assert len(run(job, ["Alone"], defaults={"max_tokens": 10}).batches) == 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "has no cache_control with ttl 1h"),
        ({"system": system(cache_control={"type": "ephemeral"})}, "has no cache_control with ttl 1h"),
        ({"cache_control": HOUR, "system": TEXT}, "none of 8 requests that were compared begins like the first"),
    ],
    ids=["no mark", "five minutes", "the whole prompt"],
)
def test_requests_without_a_shared_prefix_are_refused_with_the_cure(job: Job, params: Any, said: str) -> None:
    with pytest.raises(JobRefused, match=said) as refused:
        run(job, defaults={"max_tokens": 10, **params})
    assert '"cache_control": {"type": "ephemeral", "ttl": "1h"}' in str(refused.value)
    assert "Nothing was sent" in str(refused.value)
    assert job.emulator.counters["create"] == 0


def test_requests_that_begin_differently_are_counted(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    other = {"params": {"system": system("Other."), "messages": [{"role": "user", "content": "Hi"}]}}
    run(job, [*(f"Question {number}" for number in range(4)), other])
    assert "1 of 4 requests that were compared do not begin like the first one" in caplog.text


def test_a_prefix_is_also_read_by_a_later_mark_of_the_same_beginning(job: Job) -> None:
    def conversation(*texts: str) -> dict[str, Any]:
        blocks = [{"type": "text", "text": text} for text in texts]
        return {
            "params": {"messages": [{"role": "user", "content": [*blocks[:-1], blocks[-1] | {"cache_control": HOUR}]}]}
        }

    prompts = [conversation(TEXT), conversation(TEXT, "One more"), conversation(TEXT, "Another")]
    assert run(job, prompts, defaults={"max_tokens": 10}).requests == 3


# The table, without a store or an API


WARM: Final = shard(0, warms_cache=True)
WROTE: Final = {"m": ModelUsage(cache_write_1h_tokens=5)}


def test_it_is_sent_alone() -> None:
    of = ledger(WARM, shard(1), batches=(batch(0),))
    assert isinstance(decide(of, view("running"), NOW, JobLimits()), Pause)
    after = of.but(batches=(batch(0, landed=landed(usage=WROTE, counts={"errored": 10})),))
    assert decide(after, JobView(), NOW, JobLimits()) == SubmitShard(1)


@pytest.mark.parametrize(("minutes", "said"), [(59, False), (61, True)])
def test_a_shard_that_is_late_is_doubted(minutes: int, said: bool) -> None:
    ended = (NOW - timedelta(minutes=minutes)).isoformat()
    of = ledger(WARM, shard(1), shard(2), batches=(batch(0, landed=landed(usage=WROTE, ended_at=ended)),))
    assert ("more than an hour ago. Shard 1" in cache_doubt(of, of.shards[1], NOW)) is said
    under_way = of.but(batches=(*of.batches, batch(1)))
    assert not cache_doubt(under_way, of.shards[2], NOW), "what is under way reads, and prolongs the life"


def test_its_cost_is_not_taken_for_that_of_the_others() -> None:
    costly = batch(0, landed=landed(cost_usd=Decimal(100), usage=WROTE))
    of = ledger(WARM, shard(1), shard(2), batches=(costly,))
    assert mean_cost(of) is None
    assert mean_cost(of.but(batches=(costly, batch(1, landed=landed(cost_usd=Decimal(10)))))) == 1


def test_a_plan_shows_it(terminal: Terminal) -> None:
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 5,
        "system": system(),
        "messages": [{"role": "user", "content": "a"}],
    }
    terminal.write([{"custom_id": f"r-{number}", "params": params} for number in range(3)])
    done = terminal.call("plan", "requests.jsonl", "--warm-cache", "--offline")
    assert "warms the cache, 1 requests" in done.stdout, done.stderr
    done = terminal.run("--warm-cache")
    assert '"cached": 2' in done.stdout, done.stderr
