"""A DAG developed without a key: the emulator's rules decide what each request gets.

Start the emulator with the rules below, give Airflow the connection that it prints, and run the DAG:

    airflow-batches emulator --rules rules.jsonl

    {"custom_id": "review-0", "answer": "negative"}
    {"custom_id": "review-1", "outcome": "errored", "error_type": "overloaded_error", "times_per_id": 1}
    {"custom_id": "review-2", "answer": "I would say it is neutral."}

The first review is answered, the second fails once and is sent again, the third gets an answer that is not one of the
labels: so each branch of the DAG has run before the first request is paid.
"""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from airflow_batches.operators import MessageBatchResultsOperator, MessageBatchSubmitOperator

LABELS = ("positive", "negative", "neutral")
REVIEWS = ("Never again.", "Quick, friendly, would return!", "It was fine.")
REQUESTS = [
    {
        "custom_id": f"review-{number}",
        "params": {
            "max_tokens": 10,
            "system": f"Answer with one word: {', '.join(LABELS)}.",
            "messages": [{"role": "user", "content": review}],
        },
    }
    for number, review in enumerate(REVIEWS)
]


def read(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the result lines of a landed batch."""
    return [json.loads(line) for line in ObjectStoragePath(manifest["results"]["uri"]).read_text().splitlines()]


@task.short_circuit(ignore_downstream_trigger_rules=False)
def failed(manifest: Any) -> list[dict[str, Any]]:
    """Return the requests to send again; an empty list skips the second batch."""
    ids = {line["custom_id"] for line in read(manifest) if line["result"]["type"] in ("errored", "expired")}
    return [request for request in REQUESTS if request["custom_id"] in ids]


@task(trigger_rule="none_failed")
def label(manifests: list[Any]) -> dict[str, str | None]:
    """Return the label of each review; None for an answer that is not a label."""
    lines = [line for manifest in manifests if manifest for line in read(manifest)]
    messages = {line["custom_id"]: line["result"].get("message") for line in lines}
    texts = {i: m["content"][0]["text"] if m and m["content"] else None for i, m in messages.items()}
    return {custom_id: text if text in LABELS else None for custom_id, text in texts.items()}


def batch(name: str, requests: Any) -> MessageBatchResultsOperator:
    """Return the task that lands the batch of these requests."""
    submit = MessageBatchSubmitOperator(
        task_id=f"submit_{name}",
        requests=requests,
        model="claude-haiku-4-5",
        poll_interval=5,
        max_failure_rate=0.5,
    )
    return MessageBatchResultsOperator(
        task_id=f"land_{name}",
        batch_id=submit.output,
        path=f"{{{{ params.path }}}}/{{{{ run_id }}}}/{name}.jsonl",
    )


with DAG(
    "develop_against_rules",
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("file:///tmp/airflow-batches", type="string", description="Where the results land.")},
):
    first = batch("first", REQUESTS)
    again = batch("again", failed(first.output))
    label([first.output, again.output])
