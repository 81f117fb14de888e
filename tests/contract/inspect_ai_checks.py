"""What inspect_ai must be able to do against the emulator; the form of `sdk_checks.py`, but imports inspect_ai."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import traceback
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from inspect_ai.model import BatchConfig, GenerateConfig, Model, get_model

CONTROL: Final = os.environ["EMULATOR_CONTROL"]
BATCH: Final = BatchConfig(size=3, send_delay=0.1, tick=0.1)


def model(name: str = "claude-haiku-4-5", **config: Any) -> Model:
    return get_model(
        f"anthropic/{name}",
        config=GenerateConfig(max_tokens=64, max_retries=0, **config),
        base_url=os.environ["EMULATOR_URL"],
        api_key=os.environ["EMULATOR_KEY"],
        memoize=False,
    )


def control(method: str, path: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(f"{CONTROL}/{path}", b"{}", method=method)) as response:
        return json.load(response)


async def raised(call: Awaitable[Any]) -> Exception:
    try:
        await call
    except Exception as error:  # noqa: BLE001 - it wraps the SDK's error in one of its own
        return error
    raise AssertionError("no error was raised")


async def requests_of_many_tasks_become_one_batch() -> None:
    own = model(batch=BATCH)
    outputs = await asyncio.gather(*(own.generate(f"Hello {number}") for number in range(3)))
    assert sorted(output.completion for output in outputs) == [f"Echo: Hello {number}" for number in range(3)], outputs
    assert control("GET", "counters")["calls"]["create"] == 1
    (batch,) = control("GET", "batches")["batches"]
    assert batch["request_counts"]["succeeded"] == 3, batch


async def an_errored_line_is_the_error_of_the_api() -> None:
    error = await raised(model("claude-none-9", batch=BATCH).generate("Hello"))
    assert "NotFoundError" in repr(error), error


async def one_request_is_tried_first() -> None:
    output = await model().generate("Hello")
    assert output.completion == "Echo: Hello", output
    assert output.usage is not None
    assert output.usage.output_tokens > 0


CHECKS: Final[list[Callable[[], Coroutine[Any, Any, None]]]] = [
    requests_of_many_tasks_become_one_batch,
    an_errored_line_is_the_error_of_the_api,
    one_request_is_tried_first,
]


def main() -> None:
    outcome = {}
    for function in CHECKS:
        try:
            asyncio.run(function())
        except Exception:  # noqa: BLE001 - reported to the caller
            outcome[function.__name__] = traceback.format_exc()
        else:
            outcome[function.__name__] = "ok"
    print(json.dumps({"version": importlib.metadata.version("inspect_ai"), "checks": outcome}))  # noqa: T201


if __name__ == "__main__":
    main()
