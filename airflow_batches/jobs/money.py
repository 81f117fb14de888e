"""What a job has spent, and what it will. Pure.

| requests                        | counted as expected            | counted at most                         |
|---------------------------------|--------------------------------|-----------------------------------------|
| landed                          | their cost                     | their cost                              |
| given up (`lost`)               | answers of full length         | answers of full length                  |
| under way                       | the mean of the landed answers | answers of full length                  |
| unsent                          | the mean of the landed answers | -                                       |

Before the first answer, the input alone is expected: that is certain. A shard is sent only if the cap covers what has
landed, everything under way at most, and the shard as expected. So the job never spends more than the cap and one
shard. With a cap far below answers of full length, shards run one after another; a lower `max_tokens` lets more run at
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from airflow_batches.jobs.ledger import JobLedger, PlannedShard, total
from airflow_batches.jobs.warming import is_only_warming

ZERO: Final = Decimal(0)
CENT: Final = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Spending:
    """A job's money; None where a price is unknown.

    :param spent: what has landed, and what is given up at most.
    :param at_most_under_way: the batches under way, with answers of full length.
    :param projected: the whole job, as expected.
    :param mean: one answer's mean cost; None before the first.
    """

    spent: Decimal | None
    at_most_under_way: Decimal | None
    projected: Decimal | None
    mean: Decimal | None


def spending(ledger: JobLedger) -> Spending:
    """Add up what a job has spent and will spend."""
    mean = mean_cost(ledger)
    lost = [ledger.shards[batch.shard].ceiling_usd for batch in ledger.batches if batch.lost and not batch.free]
    spent = total([ledger.spent_usd, *lost])
    under_way = [ledger.shards[batch.shard] for batch in ledger.live]
    under_way += [ledger.shards[ledger.pending.shard]] if ledger.pending else []
    return Spending(
        spent=spent,
        at_most_under_way=total(shard.ceiling_usd for shard in under_way),
        projected=total([spent, *(expected(shard, mean) for shard in (*under_way, *ledger.unsent))]),
        mean=mean,
    )


def mean_cost(ledger: JobLedger) -> Decimal | None:
    """Return the mean cost of the answers so far; None if there are none, or a cost is unknown.

    Without the answer that warmed the cache: it paid for a prefix that the others read.
    """
    landed = [landed for batch, landed in ledger.landed if not is_only_warming(ledger, batch)]
    answers = sum(each.billed for each in landed)
    spent = total(each.cost_usd for each in landed)
    return None if spent is None or not answers else spent / answers


def expected(shard: PlannedShard, mean: Decimal | None) -> Decimal | None:
    """Return the expected cost of a shard."""
    return shard.floor_usd if mean is None else mean * shard.requests


def affordable(ledger: JobLedger, shard: PlannedShard, cap: Decimal | None) -> Literal["yes", "later", "no"]:
    """Whether the cap covers another shard: now, after some batches under way have landed, or not at all."""
    if cap is None:
        return "yes"
    money = spending(ledger)
    more = expected(shard, money.mean)
    if money.projected is None or money.spent is None or money.at_most_under_way is None or more is None:
        return "no"
    if shard.ceiling_usd is None or money.projected > cap:
        return "no"
    if money.spent + money.at_most_under_way + more <= cap:
        return "yes"
    return "later" if ledger.live else "no"


def over_budget(ledger: JobLedger, cap: Decimal | None) -> str:
    """Describe why the cap stops the job."""
    money = spending(ledger)
    if money.projected is None or money.spent is None:
        unknown = ", ".join(ledger.plan.estimate.unpriced) or "some answers"
        return (
            f"max_cost_usd={cap or ZERO:f} cannot be kept: no price is known for {unknown} "
            f"({ledger.plan.estimate.prices}). Install the extra `prices` in a version that knows the model, or run "
            "without max_cost_usd"
        )
    begun = "Nothing was sent" if not ledger.batches else f"{len(ledger.landed)} batches have landed and stay"
    basis = "the input alone" if money.mean is None else "the mean of the answers so far"
    return (
        f"The job is over its budget: {usd(money.spent)} spent, {usd(money.projected)} projected from {basis}, "
        f"max_cost_usd={cap or ZERO:f}. {begun}. Run it again with a higher max_cost_usd to go on where it stopped"
    )


def usd(amount: Decimal | None) -> str:
    """Write an amount for people: in cents, or with two digits if it is less than one."""
    if amount is None:
        return "an unknown amount"
    if amount >= CENT or not amount:
        return f"${amount.quantize(CENT)}"
    return f"${amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1)).normalize():f}"
