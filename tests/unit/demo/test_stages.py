"""Where a run stands, from what is seen of it."""

from __future__ import annotations

import pytest

from airflow_batches.demo.stages import (
    AGAIN,
    CANARY,
    DEFERRED,
    FAILED,
    OTHERS,
    PLANNED,
    PUBLISHED,
    QUEUED,
    Observed,
    detail,
    stage,
)
from airflow_batches.jobs.ledger import PUBLISHED as PUBLISHED_JOB
from airflow_batches.jobs.ledger import PUBLISHING, JobLedger
from tests.unit.jobs.samples import batch, landed, ledger, shard

SHARDS = (shard(0, canary=True, requests=2), shard(1), shard(2))
NEW = ledger(*SHARDS)
CANARY_SENT = NEW.but(batches=(batch(0),))
ALL_SENT = NEW.but(batches=(batch(0, landed=landed()), batch(1), batch(2)))
AGAIN_SENT = ALL_SENT.but(
    rounds=2,
    shards=(*SHARDS, shard(3, round=2, requests=1)),
    batches=(*(batch(number, landed=landed()) for number in range(3)), batch(3)),
)


def test_a_run_goes_through_its_stages_in_order() -> None:
    course = [
        Observed(None),
        Observed("queued"),
        Observed("running"),
        Observed("running", NEW),
        Observed("running", CANARY_SENT),
        Observed("deferred", CANARY_SENT),
        Observed("running", ALL_SENT),
        Observed("deferred", ALL_SENT),
        Observed("running", AGAIN_SENT),
        Observed("deferred", AGAIN_SENT),
        Observed("running", AGAIN_SENT.but(state=PUBLISHING)),
        Observed("success", AGAIN_SENT.but(state=PUBLISHED_JOB)),
    ]
    stages = list(dict.fromkeys(stage(seen) for seen in course))
    assert stages == [QUEUED, PLANNED, CANARY, OTHERS, AGAIN, PUBLISHED]


@pytest.mark.parametrize("found", [None, CANARY_SENT])
def test_a_run_that_failed_is_said_to_have(found: JobLedger | None) -> None:
    assert stage(Observed("failed", found)) == stage(Observed("upstream_failed", found)) == FAILED


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (Observed("queued"), ""),
        (Observed("running", NEW), "22 requests, 3 batches, estimate: at most an unknown amount"),
        (Observed("running", CANARY_SENT), "2 in msgbatch_0"),
        (Observed("deferred", CANARY_SENT), f"{DEFERRED}: 2 in msgbatch_0"),
        (Observed("running", ALL_SENT), "10 in msgbatch_1, 10 in msgbatch_2"),
        (Observed("deferred", ALL_SENT.but(batches=(batch(0, landed=landed()),))), DEFERRED),
        (Observed("success", AGAIN_SENT.but(state=PUBLISHED_JOB)), "30 answers, $3.00"),
    ],
)
def test_the_detail_says_what_is_under_way_and_what_it_costs(seen: Observed, text: str) -> None:
    assert detail(seen) == text
