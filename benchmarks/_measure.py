"""How long a function takes and how much memory it needs, each time in a process of its own.

    best = measure(copy, url, path)   # `copy` is a module's function, its arguments can be pickled
    print(table(["who", "seconds"], [["copy", f"{best.seconds:.2f}"]]))

Peak memory is the kernel's high-water mark (`VmHWM`), reset just before the function is called: what was imported
before counts as the level it grows from, and its garbage is collected. Linux only.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Measurement:
    """`seconds` of wall clock, `cpu_seconds` of the process, memory in bytes, and what the function returned."""

    seconds: float
    cpu_seconds: float
    level: int
    """Resident memory when the function was called."""
    peak: int
    """Most resident memory while it ran."""
    result: Any = None

    @property
    def growth(self) -> int:
        """What the function added."""
        return self.peak - self.level


def measure(
    function: Callable[..., Any], *args: Any, imports: Sequence[str] = (), rehearsal: Sequence[Any] | None = None
) -> Measurement:
    """Runs `function(*args)` in a fresh process, on a disk that has nothing left to write.

    `imports` are loaded before the clock starts, and the function is called with the arguments of a `rehearsal`, which
    loads what it loads late. Raises what the function raised, as a RuntimeError with its text.
    """
    os.sync()
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_run, args=(theirs, function, args, imports, rehearsal))
    process.start()
    theirs.close()
    try:
        outcome = ours.recv()
    except EOFError:
        outcome = RuntimeError(f"{function.__name__} ended without an answer")
    process.join()
    if isinstance(outcome, Measurement):
        return outcome
    raise outcome


def in_turns(names: Iterable[str], run: Callable[[str], Measurement], repeat: int) -> dict[str, Measurement]:
    """The run of median duration of each; whatever else the machine does meets all of them."""
    turns = [{name: run(name) for name in names} for _ in range(repeat)]
    return {name: _median([runs[name] for runs in turns]) for name in names}


def _median(runs: Sequence[Measurement]) -> Measurement:
    return sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _run(
    answer: Any,
    function: Callable[..., Any],
    args: Sequence[Any],
    imports: Sequence[str],
    rehearsal: Sequence[Any] | None,
) -> None:
    logging.disable(logging.INFO)
    try:
        for name in imports:
            import_module(name)
        if rehearsal is not None:
            function(*rehearsal)
        gc.collect()
        answer.send(_measured(function, args))
    except Exception as exc:  # noqa: BLE001  # told to the parent, whatever it is
        answer.send(RuntimeError(f"{function.__name__}: {type(exc).__name__}: {exc}"))


def _measured(function: Callable[..., Any], args: Sequence[Any]) -> Measurement:
    Path("/proc/self/clear_refs").write_text("5")
    level = _status("VmRSS")
    cpu, began = _cpu(), time.perf_counter()
    result = function(*args)
    seconds, cpu = time.perf_counter() - began, _cpu() - cpu
    return Measurement(seconds=seconds, cpu_seconds=cpu, level=level, peak=_status("VmHWM"), result=result)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/self/status")
