"""`airflow-batches plan`: what a job would send and cost. Nothing is stored or sent, but token counts."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from airflow_batches._uri import redact_uri
from airflow_batches.api.defaults import NEWEST
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.money import usd
from airflow_batches.jobs.planning import preview
from airflow_batches.jobs.terminal.options import add_epilog, add_request_options, asked_for, money
from airflow_batches.jobs.terminal.summary import line, plan_lines, plan_numbers
from airflow_batches.landing.command import add_base_url, client_from_environment, local_uri

EPILOG: Final = """\
examples:
  airflow-batches plan requests.jsonl
  airflow-batches plan prompts.jsonl --model claude-haiku-4-5 \\
      --defaults '{"max_tokens": 200}' --canary 100
  airflow-batches plan s3://lake/requests.jsonl --offline --json
  airflow-batches plan reviews.parquet --model claude-haiku-4-5 \\
      --defaults '{"max_tokens": 200}' --key id --prompt 'Classify: ${text}'

Nothing is stored. The API only counts the tokens of up to 50 requests, which is
free. With --offline it is not called: tokens are estimated from bytes, and no
key is needed. Otherwise the key is read from ANTHROPIC_API_KEY.

exit codes:
  0  the job can be sent
  1  it cannot, or --max-cost-usd does not cover its input
  2  wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    add_request_options(parser)
    parser.add_argument("--offline", action="store_true", help="call nothing; estimate tokens from bytes")
    parser.add_argument("--max-cost-usd", type=money, metavar="USD", help="say whether this covers the input")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_base_url(parser)
    add_epilog(parser, EPILOG)


def run(args: argparse.Namespace) -> int:
    """Print the plan.

    :param args: the parsed arguments of `add_arguments`.
    :return: the exit code.
    :raises PreflightError: the requests cannot be sent.
    """
    with ExitStack() as stack:
        client = None if args.offline else stack.enter_context(client_from_environment(args.base_url))
        asked = asked_for(args, client.anthropic_version if client else NEWEST)
        # Only with a folder are the answers of an earlier job taken.
        folder = JobFolder(stack.enter_context(TemporaryDirectory())) if args.reuse else None
        shards, estimate = preview(client, asked, folder)
    source, rows = redact_uri(local_uri(args.requests)), asked.rows.settings() if asked.rows else None
    if args.json:
        sys.stdout.buffer.write(
            msgspec.json.format(msgspec.json.encode(plan_numbers(source, shards, estimate, rows))) + b"\n"
        )
    else:
        sys.stdout.writelines(f"{text}\n" for text in plan_lines(source, shards, estimate, rows))
    cap, floor = args.max_cost_usd, estimate.floor_usd
    if cap is None or (floor is not None and floor <= cap):
        return 0
    reason = "no price is known" if floor is None else f"the input alone costs {usd(floor)}"
    sys.stderr.write(f"{line('refused', f'{reason}, and --max-cost-usd is {usd(cap)}')}\n")
    return 1
