"""Warm the prompt cache: one request alone first, whose prefix the others read. Pure.

| requests                                                            | what happens                            |
|---------------------------------------------------------------------|-----------------------------------------|
| the first has no `cache_control`, or none with `"ttl": "1h"`        | refused                                 |
| none of the sample begins like the first one, up to such a mark     | refused                                 |
| some of the sample do not                                           | a warning with their number             |
| the first one has ended, and wrote nothing to the cache             | a warning; the others are sent          |
| nothing was under way for the last hour before a shard              | a warning; it is sent                   |

A Messages call does not warm the cache of batches (reported, anthropics/skills issue 1475), so the first request is a
batch of its own. With a canary, the canary is that batch. Prefixes of 5 minutes would be gone before the other batches
run. Reads prolong the life of a prefix (docs, "Prompt caching"), so later batches find it while earlier ones run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec

from airflow_batches.jobs.errors import JobRefused
from airflow_batches.jobs.ledger import JobBatch, JobLedger, LandedBatch, PlannedShard
from airflow_batches.submission.lines import RequestLine

logger = logging.getLogger(__name__)

TTL: Final = "1h"
LIFETIME: Final = timedelta(hours=1)
"""How long a prefix can be read after its last use (docs, "Prompt caching")."""
LOOK_BACK: Final = 20
"""Blocks before a mark in which the API looks for a prefix that was written (docs, "Prompt caching")."""
CURE: Final = (
    'Put "cache_control": {"type": "ephemeral", "ttl": "1h"} on the last block that all requests share, such as a '
    "block of `system` in the defaults; or leave out warm_cache. Nothing was sent"
)


def require_shared_prefix(first: RequestLine, others: Sequence[RequestLine]) -> None:
    """Check that requests read what the first one writes.

    :param first: the request that is sent alone first.
    :param others: a sample of the others.
    :raises JobRefused: it writes nothing for an hour, or none of the others begins like it.
    """
    written = {digest for digest, ttl in _blocks(first) if ttl == TTL}
    if not written:
        raise JobRefused(
            f"warm_cache: the first request, {first.custom_id!r}, has no cache_control with ttl 1h. {CURE}"
        )
    reading = sum(_reads(request, written) for request in others)
    if others and not reading:
        raise JobRefused(
            f"warm_cache: none of {len(others):,} requests that were compared begins like the first one, "
            f"{first.custom_id!r}, up to its cache_control. {CURE}"
        )
    if reading < len(others):
        logger.warning(
            "warm_cache: %s of %s requests that were compared do not begin like the first one, up to its "
            "cache_control; such requests pay for all of their input",
            f"{len(others) - reading:,}", f"{len(others):,}",
        )  # fmt: skip


def warmed(shards: Sequence[PlannedShard], *, canary: bool) -> list[PlannedShard]:
    """Return the shards, of which the first one warms the cache if there is another one.

    :param canary: it is the canary as well.
    """
    if len(shards) < 2:
        return [*shards]
    return [msgspec.structs.replace(shards[0], canary=canary, warms_cache=True), *shards[1:]]


def cache_doubt(ledger: JobLedger, shard: PlannedShard, now: datetime) -> str:
    """Say why a shard that is about to be sent may not read from the cache; empty: it should.

    :param ledger: the job's ledger.
    :param shard: the shard.
    :param now: the time.
    """
    warm = [(batch, landed) for batch, landed in ledger.landed if ledger.shards[batch.shard].warms_cache]
    if not warm or shard.round > 1:
        return ""
    batch, landed = warm[-1]
    if len(ledger.landed) == len(warm) and not ledger.live and not _wrote(landed):
        return (
            f"Batch {batch.id} was to warm the cache, and wrote nothing to it: its prefix is shorter than the model's "
            "minimum, or it failed. The other requests are sent, and pay for all of their input"
        )
    ended_at = max(_ended_at(each) for _, each in ledger.landed)
    if ledger.live or now - ended_at < LIFETIME:
        return ""
    return (
        f"The cache was last used before {ended_at:%F %T %Z}, more than an hour ago. Shard {shard.number} may write "
        "its prefix again, at twice the price of input"
    )


def is_only_warming(ledger: JobLedger, batch: JobBatch) -> bool:
    """Whether a batch only warms the cache, so that its cost says little about the others'."""
    shard = ledger.shards[batch.shard]
    return shard.warms_cache and not shard.canary


def _wrote(landed: LandedBatch) -> bool:
    return any(usage.cache_write_1h_tokens or usage.cache_read_tokens for usage in landed.usage.values())


def _ended_at(landed: LandedBatch) -> datetime:
    return datetime.fromisoformat(landed.ended_at) if landed.ended_at else landed.landed_at


def _reads(request: RequestLine, written: set[bytes]) -> bool:
    """Whether a request looks for one of these prefixes: at one of its own marks, or in the blocks before that."""
    blocks = [*_blocks(request)]
    marks = [number for number, (_, ttl) in enumerate(blocks) if ttl]
    places = [number for number, (digest, _) in enumerate(blocks) if digest in written]
    return any(0 <= mark - place <= LOOK_BACK for place in places for mark in marks)


def _blocks(request: RequestLine) -> Iterator[tuple[bytes, str]]:
    """Yield the digest of the prompt up to each block, and the lifetime that the block is marked with, if it is."""
    params = msgspec.json.decode(request.data)["params"]
    state = sha256((request.model or "").encode())
    found = [*_parts(params)]
    for number, (place, block) in enumerate(found):
        plain = {name: value for name, value in block.items() if name != "cache_control"}
        state.update(msgspec.json.encode([place, plain], order="deterministic"))
        mark = block.get("cache_control") or (params.get("cache_control") if number == len(found) - 1 else None)
        yield state.digest(), mark.get("ttl", "5m") if isinstance(mark, Mapping) else ""


def _parts(params: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the blocks of a prompt in the API's order, each with its place."""
    yield from (("tools", tool) for tool in params.get("tools") or ())
    yield from (("system", block) for block in _content(params.get("system")))
    for message in params.get("messages") or ():
        yield from ((message.get("role", ""), block) for block in _content(message.get("content")))


def _content(content: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, Mapping)]
