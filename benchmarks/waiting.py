"""Deferred batches in one triggerer: ours, and the official provider's trigger.

    python -m benchmarks.waiting                                  # 10, 100, 1,000 and ours at 10,000
    python -m benchmarks.waiting --batches 1000 --contestants airflow-batches
    python -m benchmarks.waiting --batches 100 --spread           # the waits begin one after the other

Each run has an emulator in one process and the triggers in another, with what a triggerer has loaded when it starts.
All triggers run on one event loop, started as the triggerer does it. For `WINDOW` seconds all batches go on: CPU,
calls and connections are of that time. Then they end, evenly over one poll interval; the lag is from a batch's
`ended_at` to its trigger's event. The longest stall is how late a task that sleeps for 10 ms woke up at worst, from
the first trigger to the last event; that of an idle loop is the machine's own. Memory is the most that was ever
resident. INFO is not logged, and what Airflow had loaded before is frozen (`gc.freeze`): the collector's walks over
it are not the triggers' doing. With `--spread` the waits begin evenly over one poll interval, and the window begins
after the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from benchmarks._measure import MEGABYTE, measure, table

POLL_INTERVAL: Final = 5.0
WINDOW: Final = 25.0
RUNS_FOR: Final = 7200.0
"""Seconds on the emulator's clock that a batch takes, so that one step of that clock ends them all."""
STEPS: Final = 100
SIZES: Final = (10, 100, 1_000, 10_000)
MOST_FOR_OTHERS: Final = 1_000
HEAD: Final = (
    "who",
    "batches",
    "CPU s",
    "peak MB",
    "growth MB",
    "calls (a cycle)",
    "connections",
    "longest stall ms",
    "lag s p50 / p99",
)
TRIGGERER: Final = "airflow.jobs.triggerer_job_runner"
REQUEST: Final = {
    "custom_id": "r-0",
    "params": {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]},
}


@dataclass(frozen=True)
class Emulated:
    """An emulator in another process."""

    url: str
    key: str

    def control(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response)


@dataclass(frozen=True)
class Seen:
    """The measurements of one run: seconds, and when each batch's trigger fired (seconds since the epoch)."""

    cpu: float
    calls: int
    connections: int
    stall: float
    offset: float
    fired: dict[str, float]


def ours(batch_id: str) -> Any:
    from airflow_batches.triggers import MessageBatchTrigger

    return MessageBatchTrigger(
        conn_id="anthropic_default", batch_id=batch_id, poll_interval=POLL_INTERVAL, since=time.time()
    )


def official(batch_id: str) -> Any:
    from airflow.providers.anthropic.triggers.batch import AnthropicBatchTrigger

    return AnthropicBatchTrigger(
        conn_id="anthropic_default", batch_id=batch_id, poll_interval=POLL_INTERVAL, end_time=time.time() + 3600
    )


CONTESTANTS: Final[dict[str, Callable[[str], Any]]] = {"airflow-batches": ours, "official provider": official}
IDLE: Final = "idle loop"


def triggerer(name: str, emulated: Emulated, ids: Sequence[str], end_at: float, spread_s: float) -> Seen:
    """Run the triggers: this is the measured process."""
    connection = {"conn_type": "anthropic", "password": emulated.key, "host": emulated.url}
    os.environ["AIRFLOW_CONN_ANTHROPIC_DEFAULT"] = json.dumps(connection)
    logging.disable(logging.INFO)
    gc.collect()
    gc.freeze()
    return asyncio.run(_triggerer(CONTESTANTS.get(name, ours), emulated, ids, end_at, spread_s))


async def _triggerer(
    trigger_for: Callable[[str], Any], emulated: Emulated, ids: Sequence[str], end_at: float, spread_s: float
) -> Seen:
    trigger_for("msgbatch_0")  # loads its class; the triggerer does that once as well
    stalls: list[float] = [0.0]
    fired: dict[str, float] = {}
    watchdog = asyncio.create_task(_watch(stalls))
    before = await asyncio.to_thread(emulated.control, "GET", "counters")
    cpu, began = time.process_time(), time.monotonic()
    tasks = []
    for batch_id in ids:
        tasks.append(asyncio.create_task(_fire(batch_id, trigger_for(batch_id).run(), fired)))
        await asyncio.sleep(spread_s / len(ids))
    if spread_s:
        before = await asyncio.to_thread(emulated.control, "GET", "counters")
        cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(WINDOW - (time.monotonic() - began))
    cpu = time.process_time() - cpu
    after = await asyncio.to_thread(emulated.control, "GET", "counters")
    assert not fired, "no batch has ended yet"
    clock = await asyncio.to_thread(lambda: emulated.control("POST", "clock/advance", seconds=end_at - time.time()))
    await asyncio.gather(*tasks)
    watchdog.cancel()
    return Seen(
        cpu=cpu,
        calls=sum(after["calls"].values()) - sum(before["calls"].values()),
        connections=after["connections"] - before["connections"],
        stall=max(stalls),
        offset=clock["offset"],
        fired=fired,
    )


async def _watch(stalls: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        stalls.append(time.monotonic() - began - 0.01)


async def _fire(batch_id: str, events: AsyncIterator[Any], fired: dict[str, float]) -> None:
    async for _ in events:
        fired[batch_id] = time.time()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=SIZES)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--spread", action="store_true", help="begin the waits evenly over one poll interval")
    args = parser.parse_args(argv)
    spread_s = POLL_INTERVAL if args.spread else 0.0
    rows = [_run(IDLE, 0, 0.0)]
    for count in args.batches:
        for name in args.contestants:
            if name == "airflow-batches" or count <= MOST_FOR_OTHERS:
                rows.append(_run(name, count, spread_s))
                print(table(HEAD, rows[-1:]), flush=True)
    print(table(HEAD, rows))


def _run(name: str, count: int, spread_s: float) -> list[str]:
    with _emulator() as emulated:
        end_at = time.time() + RUNS_FOR
        ids = _submit(emulated, count, end_at)
        run = measure(triggerer, name, emulated, ids, end_at, spread_s, imports=[TRIGGERER])
        seen: Seen = run.result
        batches = emulated.control("GET", "batches")["batches"]
    ended = {batch["id"]: datetime.fromisoformat(batch["ended_at"]).timestamp() - seen.offset for batch in batches}
    lags = sorted(fired - ended[batch_id] for batch_id, fired in seen.fired.items())
    assert len(lags) == count
    cycles = WINDOW / POLL_INTERVAL
    return [
        name,
        f"{count:,}",
        f"{seen.cpu:.2f}",
        f"{run.peak / MEGABYTE:,.0f}",
        f"{run.growth / MEGABYTE:,.0f}",
        f"{seen.calls:,} ({seen.calls / cycles:,.1f})",
        f"{seen.connections:,}",
        f"{seen.stall * 1000:,.0f}",
        f"{lags[count // 2]:.1f} / {lags[count * 99 // 100]:.1f}" if lags else "",
    ]


@contextmanager
def _emulator() -> Iterator[Emulated]:
    command = [sys.executable, "-m", "airflow_batches.emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        try:
            yield Emulated(url, "sk-ant-emulator")
        finally:
            process.terminate()


def _submit(emulated: Emulated, count: int, end_at: float) -> list[str]:
    """Batches that end one after the other in the poll interval after `end_at`."""
    from airflow_batches.api import BatchesClient

    ids: list[str] = []
    with BatchesClient(emulated.key, base_url=emulated.url) as client:
        for step in range(STEPS):
            lasts = end_at - time.time() + step * POLL_INTERVAL / STEPS
            emulated.control("PATCH", "settings", processing_time=lasts)
            upto = count * (step + 1) // STEPS
            ids += [client.create([REQUEST]).id for _ in range(upto - len(ids))]
    return random.Random(0).sample(ids, len(ids))


if __name__ == "__main__":
    main()
