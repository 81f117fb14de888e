"""Wait in a test for what another thread or task does, and fail if it does not happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

DEADLINE_S = 60.0
"""Chosen: long on a busy machine, and below the 300 s after which pytest ends a test."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, while the loop's other tasks run."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # it holds in another thread
            await asyncio.sleep(0.002)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, without an event loop."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
