"""`airflow-batches cancel`: cancel all batches of a job, and land what they answered before."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Final

from airflow_batches.api import BatchesClient
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.decision import JobLimits
from airflow_batches.jobs.errors import JobCanceled
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import OPEN, JobLedger
from airflow_batches.jobs.planning import JobRequests
from airflow_batches.jobs.run import make_engine
from airflow_batches.jobs.terminal.interrupt import Interrupted
from airflow_batches.jobs.terminal.options import add_epilog
from airflow_batches.jobs.terminal.run import add_poll_interval
from airflow_batches.jobs.terminal.runner import TerminalRunner
from airflow_batches.jobs.terminal.status import load_ledger
from airflow_batches.jobs.terminal.summary import canceled_lines, line
from airflow_batches.landing.command import add_base_url, client_from_environment, local_uri

EPILOG: Final = """\
examples:
  airflow-batches cancel answers/
  airflow-batches cancel s3://lake/answers/ --poll-interval 10

Each cancel is repeated until the API confirms it. Then the command waits until
the batches have ended, and lands what was answered before: those answers are
billed. A runner of the job in another terminal or task stops at its next step.
`airflow-batches run` with the same folder goes on with a canceled job: it sends
the canceled requests again, and none that was answered.
The key is read from ANTHROPIC_API_KEY.

exit codes:
  0    no batch of the job runs any more
  1    an error; batches may run, repeat the command
  2    wrong usage
  130  Ctrl-C; 143 for SIGTERM"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument("path", metavar="PATH", help="the job's folder, or a URI such as s3://bucket/folder/")
    add_poll_interval(parser)
    add_base_url(parser)
    add_epilog(parser, EPILOG)


def run(args: argparse.Namespace) -> int:
    """Cancel the job.

    :param args: the parsed arguments of `add_arguments`.
    :return: the exit code.
    :raises JobRefused: there is no job in the folder.
    :raises BatchesError: what the API or the store raised; batches may run.
    """
    folder = JobFolder(local_uri(args.path))
    if load_ledger(folder).state != OPEN:
        return _too_late(folder)
    runner = TerminalRunner(folder)
    with runner.clock:  # until the last message is written
        return _finished(args, folder, runner)


def _finished(args: argparse.Namespace, folder: JobFolder, runner: TerminalRunner) -> int:
    try:
        with client_from_environment(args.base_url) as client, runner.shown():
            _cancel(client, folder, args.poll_interval, runner)
    except JobCanceled:
        return _report(folder, load_ledger(folder))
    except Interrupted:
        sys.stderr.write(f"airflow-batches cancel: {_interrupted(runner)}\n")
        return runner.clock.exit_code
    return _too_late(folder)


def _cancel(client: BatchesClient, folder: JobFolder, poll_interval: float, runner: TerminalRunner) -> None:
    asked = JobRequests(requests=None, cut=CutLimits(version=client.anthropic_version))
    limits = JobLimits(poll_interval=poll_interval)
    make_engine(client, folder, asked, limits, cancel=True, clock=runner.clock, on_step=runner.on_step).run()


def _report(folder: JobFolder, ledger: JobLedger) -> int:
    lines = [line("canceled", folder.name), *canceled_lines(ledger)]
    sys.stdout.writelines(f"{text}\n" for text in lines)
    return 0


def _too_late(folder: JobFolder) -> int:
    """Say that no batch runs. A job that is being published is left to `run`, which knows its format."""
    sys.stdout.write(
        f"Nothing to cancel: all batches of {folder.name} have ended, and landed. Their answers are billed\n"
    )
    return 0


def _interrupted(runner: TerminalRunner) -> str:
    """Say what is left, and how to go on."""
    again = f"airflow-batches cancel {shlex.quote(runner.name)}"
    return f"interrupted. Cancels that the API confirmed stay. {runner.left()}.\nTo go on: {again}"
