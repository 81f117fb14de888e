"""What a job will need: tokens and money, before anything is sent.

| number            | from                                                                                         |
|-------------------|----------------------------------------------------------------------------------------------|
| input tokens      | a token count of a sample, per byte of its requests; else `BYTES_PER_TOKEN`                  |
| output tokens     | the sum of `max_tokens`: the most that can be answered                                       |
| prices            | the list of `genai-prices`, at batch prices; without cache reads, which are not predictable  |
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs.ledger import ModelShare, PlannedShard, TokenEstimate, total
from airflow_batches.landing.prices import PriceList
from airflow_batches.landing.usage import ModelUsage, PriceRange
from airflow_batches.submission.lines import RequestLine

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient

logger = logging.getLogger(__name__)

BYTES_PER_TOKEN: Final = 3.0
"""Bytes of a request for one token, if none can be counted. Chosen below the four of English prose, because the
estimate must not be too low."""


def estimated(
    client: BatchesClient | None, shards: Sequence[PlannedShard], sample: Sequence[RequestLine]
) -> tuple[list[PlannedShard], TokenEstimate]:
    """Return the shards with their prices, and the estimate of all.

    :param client: counts the sample's tokens; None: they are derived from bytes.
    :param shards: the shards.
    :param sample: some of their requests.
    """
    rates, method = _rates(client, sample)
    prices = PriceList(None)
    priced = [_priced(shard, rates, prices) for shard in shards]
    shares = [(model, share) for shard in shards for model, share in shard.models.items()]
    unpriced = {model or "(none)" for model, share in shares if _cost(prices, model, share, 1, 0) is None}
    return priced, TokenEstimate(
        input_tokens=sum(_input(share, rates.get(model)) for model, share in shares),
        max_output_tokens=sum(share.max_tokens for _, share in shares),
        floor_usd=total(shard.floor_usd for shard in priced),
        ceiling_usd=total(shard.ceiling_usd for shard in priced),
        method=method,
        prices=prices.source,
        unpriced=tuple(sorted(unpriced)),
    )


def priced_like(shards: Sequence[PlannedShard], known: Sequence[PlannedShard]) -> list[PlannedShard]:
    """Return the shards of a further round, priced as the earlier ones were per byte and per token."""
    floors, ceilings = total(shard.floor_usd for shard in known), total(shard.ceiling_usd for shard in known)
    size = sum(shard.bytes for shard in known)
    tokens = sum(_max_tokens(shard) for shard in known)
    if floors is None or ceilings is None:
        return [*shards]
    found = []
    for shard in shards:
        floor = floors * shard.bytes / max(size, 1)
        longest = (ceilings - floors) * _max_tokens(shard) / max(tokens, 1)
        found.append(msgspec.structs.replace(shard, floor_usd=floor, ceiling_usd=floor + longest))
    return found


def _max_tokens(shard: PlannedShard) -> int:
    return sum(share.max_tokens for share in shard.models.values())


def _rates(client: BatchesClient | None, sample: Sequence[RequestLine]) -> tuple[Mapping[str, float], str]:
    """Return tokens per byte of each model, and how they were found."""
    by_bytes = f"{BYTES_PER_TOKEN:g} bytes for a token"
    if client is None:
        return {}, by_bytes
    counts: dict[str, list[int]] = {}
    try:
        for request in sample:
            tokens = client.count_tokens(msgspec.json.decode(request.data)["params"])
            counted = counts.setdefault(request.model or "", [0, 0])
            counted[0] += tokens
            counted[1] += len(request.data)
    except BatchesError as error:  # also where the API refuses to count a request that a batch may take
        logger.warning("Input tokens are estimated from bytes: %s", error)
        return {}, f"{by_bytes}: {error}"
    rates = {model: tokens / size for model, (tokens, size) in counts.items()}
    return rates, f"token count of {len(sample):,} requests"


def _input(share: ModelShare, rate: float | None) -> int:
    return round(share.bytes * (rate if rate is not None else 1 / BYTES_PER_TOKEN))


def _priced(shard: PlannedShard, rates: Mapping[str, float], prices: PriceList) -> PlannedShard:
    def cost(*, full: bool) -> Decimal | None:
        return total(
            _cost(prices, model, share, _input(share, rates.get(model)), share.max_tokens if full else 0)
            for model, share in shard.models.items()
        )

    return msgspec.structs.replace(shard, floor_usd=cost(full=False), ceiling_usd=cost(full=True))


def _cost(prices: PriceList, model: str, share: ModelShare, tokens: int, output: int) -> Decimal | None:
    """Return the cost of these tokens; prices that depend on the prompt's length are those of the mean prompt."""
    length = sum(tokens / max(share.requests, 1) > step for step in prices.steps(model))
    usage = ModelUsage(answers=share.requests, input_tokens=tokens, output_tokens=output)
    found = prices.cost({PriceRange(model, length): usage}).total
    return None if found is None else Decimal(found)
