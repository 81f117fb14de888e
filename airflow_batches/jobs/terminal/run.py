"""`airflow-batches run`: run a job, or go on with it."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Final, get_args

from airflow_batches.api import BatchesClient
from airflow_batches.jobs.decision import OnMissing, OnUnsettled
from airflow_batches.jobs.errors import JobFailed, JobStopped
from airflow_batches.jobs.events import estimate_text
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.line_parts import FORMATS
from airflow_batches.jobs.manifest import MANIFEST, JobManifest
from airflow_batches.jobs.money import usd
from airflow_batches.jobs.planning import OnOtherRequests
from airflow_batches.jobs.run import ROW_FORMATS, run_job
from airflow_batches.jobs.terminal.interrupt import Interrupted
from airflow_batches.jobs.terminal.options import (
    ANY,
    add_epilog,
    add_request_options,
    count,
    duration,
    given_of,
    growth,
    money,
    rate,
)
from airflow_batches.jobs.terminal.runner import TerminalRunner
from airflow_batches.jobs.terminal.summary import line, published_rows_text
from airflow_batches.landing.command import add_base_url, client_from_environment, local_uri

STOPPED: Final = 3
"""Exit code after a rule stopped the job. Chosen: not one of `airflow-batches` itself (see the epilog)."""
TOO_MANY_FAILURES: Final = 4
"""Exit code after more requests failed than allowed. Chosen likewise."""
EPILOG: Final = """\
examples:
  airflow-batches run requests.jsonl answers/
  airflow-batches run prompts.jsonl s3://lake/answers/ --canary 100 \\
      --model claude-haiku-4-5 --defaults '{"max_tokens": 200}' --max-cost-usd 50
  airflow-batches run requests.jsonl answers/ --defaults @defaults.json
  airflow-batches run reviews.parquet verdicts/ --model claude-haiku-4-5 \\
      --defaults '{"max_tokens": 200}' --key id --prompt 'Classify: ${text}' \\
      --output-schema verdict.json

The folder is the job. The same command goes on with a job that was interrupted,
and sends no request again whose batch may exist. For a job that is done it
prints the manifest and sends nothing.
Ctrl-C cancels nothing: batches that were sent go on, and are billed.
`airflow-batches cancel PATH` cancels them. The same command as before then goes
on, and sends the canceled requests again.
The key is read from ANTHROPIC_API_KEY. Standard output gets the manifest as
JSON unless it is a terminal, standard error everything else.

exit codes:
  0    all is published
  1    an error; the message says what to do
  2    wrong usage
  3    stopped by the budget, the canary, lack of credit, a missing batch or an
       uncertain create; the same command goes on once the cause is gone
  4    all is published, and more requests failed than --max-failure-rate
  130  Ctrl-C; 143 for SIGTERM"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    add_request_options(parser)
    parser.add_argument("path", metavar="PATH", help="the job's folder, or a URI such as s3://bucket/folder/")
    group = parser.add_argument_group("limits")
    group.add_argument("--max-cost-usd", type=money, metavar="USD", help="send nothing that this may not cover")
    group.add_argument("--max-failure-rate", type=rate, default=0.05, metavar="SHARE", help=f"0 to 1, or {ANY} (0.05)")
    group.add_argument("--max-queued", type=count, metavar="N", help="most requests under way (what the API takes)")
    group.add_argument("--rounds", type=count, default=3, metavar="N", help="how often a request is sent at most (3)")
    group.add_argument(
        "--max-tokens-growth", type=growth, metavar="FACTOR",
        help="send answers that max_tokens cut again, with so many times the limit",
    )  # fmt: skip
    group.add_argument(
        "--on-changed", choices=get_args(OnOtherRequests), default="fail",
        help="the folder's job has other requests: refuse (default), or go on with those that it was planned with",
    )  # fmt: skip
    group.add_argument(
        "--on-missing", choices=get_args(OnMissing), default="fail",
        help="a batch no longer exists: stop (default), or send its requests again, which may bill twice",
    )  # fmt: skip
    group.add_argument(
        "--on-unsettled", choices=get_args(OnUnsettled), default="fail",
        help="a create may have made a batch that no search finds: stop (default), or send again, which may bill twice",
    )  # fmt: skip
    group = parser.add_argument_group("answers")
    formats = list(dict.fromkeys((*FORMATS, *ROW_FORMATS)))
    group.add_argument(
        "--format", choices=formats, help="of the answers (jsonl); of rows parquet, csv or jsonl (parquet)"
    )
    group = parser.add_argument_group("calls")
    add_poll_interval(group)
    add_base_url(group)
    add_epilog(parser, EPILOG)


def add_poll_interval(group: argparse._ActionsContainer) -> None:
    """Add the pause between two looks at the batches."""
    group.add_argument("--poll-interval", type=duration, default=60.0, metavar="SECONDS", help="between two looks (60)")


def run(args: argparse.Namespace) -> int:
    """Run the job.

    :param args: the parsed arguments of `add_arguments`.
    :return: the exit code.
    :raises BatchesError: what `run_job` raises, except for stops and failures of requests.
    """
    path = local_uri(args.path)
    runner = TerminalRunner(JobFolder(path))
    with runner.clock:  # until the last message is written
        return _finished(args, path, runner)


def _finished(args: argparse.Namespace, path: str, runner: TerminalRunner) -> int:
    try:
        with client_from_environment(args.base_url) as client, runner.shown(args.max_cost_usd):
            manifest = _run(client, args, path, runner)
    except Interrupted:
        return _end(_interrupted(runner), runner.clock.exit_code)
    except JobStopped as stop:
        return _end(str(stop), STOPPED)
    except JobFailed as failed:
        _report(runner.name, failed.manifest)
        return _end(str(failed), TOO_MANY_FAILURES)
    _report(runner.name, manifest)
    return 0


def _run(client: BatchesClient, args: argparse.Namespace, path: str, runner: TerminalRunner) -> JobManifest:
    return run_job(
        client, path=path, **given_of(args), model=args.model, defaults=args.defaults, format=args.format,
        canary=args.canary, canary_sample=args.canary_sample, warm_cache=args.warm_cache,
        rounds=args.rounds, max_tokens_growth=args.max_tokens_growth, max_cost_usd=args.max_cost_usd,
        max_failure_rate=args.max_failure_rate, max_queued=args.max_queued, max_requests=args.max_requests,
        max_bytes=args.max_bytes, preflight=args.preflight, on_changed=args.on_changed, on_missing=args.on_missing,
        on_unsettled=args.on_unsettled, resend_canceled=True,
        poll_interval=args.poll_interval, clock=runner.clock, progress=runner.on_step,
    )  # fmt: skip


def _end(message: str, exit_code: int) -> int:
    sys.stderr.write(f"airflow-batches run: {message}\n")
    return exit_code


def _interrupted(runner: TerminalRunner) -> str:
    """Say what goes on, and how to resume."""
    return (
        f"interrupted. Nothing is canceled. {runner.left()}.\n"
        f"To go on:  {shlex.join(['airflow-batches', *sys.argv[1:]])}\n"
        f"To cancel: airflow-batches cancel {shlex.quote(runner.name)}"
    )


def _report(name: str, manifest: JobManifest) -> None:
    """Tell people the numbers, and programs the manifest."""
    counts = ", ".join(f"{number:,} {kind}" for kind, number in manifest.counts.items() if number)
    lines = [
        line("published", f"{name}/{MANIFEST}"),
        *([line("rows", published_rows_text(manifest.rows))] if manifest.rows else []),
        line("answers", f"{counts}, in {len(manifest.results):,} objects"),
        line("cost", f"{usd(manifest.cost_usd)}; estimated: {estimate_text(manifest.estimate)}"),
    ]
    sys.stderr.writelines(f"{text}\n" for text in lines)
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(manifest.to_json())
