"""Options of the commands that read requests, and the objects that are made from them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from rich_argparse import RawDescriptionRichHelpFormatter

from airflow_batches._row_options import RowOptions
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.planning import CanarySample, JobRequests
from airflow_batches.jobs.run import asked_rows_of
from airflow_batches.landing.command import local_uri
from airflow_batches.submission.preflight import Preflight

ANY: Final = "any"
REQUESTS_HELP: Final = (
    "JSONL: a file or a URI such as s3://bucket/key.jsonl; .gz, .zst. Each line is a request of the API (custom_id, "
    'params), or {"prompt": "text"} with or without a custom_id; prompts need --model and --defaults with max_tokens. '
    "With --prompt: a table instead, as Parquet, CSV or JSONL: a file, a folder or a glob"
)
ROW_OPTIONS: Final = ("key", "output_type", "reuse")
"""Options that need `--prompt`, as `run_job` names them."""


def add_epilog(parser: argparse.ArgumentParser, text: str) -> None:
    """End the help with a text whose lines stay as they are."""
    parser.formatter_class = RawDescriptionRichHelpFormatter
    parser.epilog = text.replace("%", "%%")


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """Add the requests, and the options that shape their batches."""
    parser.add_argument("requests", metavar="REQUESTS", help=REQUESTS_HELP)
    group = parser.add_argument_group("requests")
    group.add_argument("--model", help="of requests that name none")
    group.add_argument(
        "--defaults", type=_defaults, default={}, metavar="JSON|@FILE",
        help="params for every request, such as max_tokens and system; what a request names itself wins",
    )  # fmt: skip
    group.add_argument(
        "--preflight", choices=get_args(Preflight), default="error", help="check of the requests (error)"
    )
    group = parser.add_argument_group("rows of a table")
    group.add_argument("--prompt", metavar="TEXT", help="the prompt of each row; ${column} is the row's value")
    group.add_argument(
        "--key", action="append", metavar="COLUMN",
        help="identifies a row and is published with its answer (all columns are); repeat it for several",
    )  # fmt: skip
    group.add_argument(
        "--output-schema", dest="output_type", type=_schema, metavar="FILE",
        help="a JSON schema that each answer must follow; its members become columns",
    )  # fmt: skip
    group.add_argument(
        "--reuse", type=local_uri, metavar="FOLDER", help="take answers to equal requests from this earlier job"
    )
    group = parser.add_argument_group("batches")
    group.add_argument("--canary", type=count, default=0, metavar="N", help="send N requests alone first (0: none)")
    group.add_argument("--canary-sample", choices=get_args(CanarySample), default="first", help="which ones (first)")
    group.add_argument(
        "--warm-cache", action="store_true",
        help="send one request alone first, so that the others read the cached prefix that they share with it",
    )  # fmt: skip
    group.add_argument(
        "--max-requests", type=count, default=MAX_REQUESTS, metavar="N", help=f"of one batch ({MAX_REQUESTS})"
    )
    group.add_argument(
        "--max-bytes", type=count, default=MAX_BODY_BYTES, metavar="N", help=f"of one batch ({MAX_BODY_BYTES})"
    )


def asked_for(args: argparse.Namespace, version: str) -> JobRequests:
    """Return what the options of `add_request_options` ask for.

    :param args: the parsed arguments.
    :param version: the API version that the requests are checked against.
    :raises InvalidRequest: options for rows do not fit each other, or there are no rows.
    """
    given = given_of(args)
    requests, rows = given.pop("requests"), given.pop("rows")
    cut = CutLimits(
        max_requests=args.max_requests, max_bytes=args.max_bytes, model=args.model, version=version,
        preflight=args.preflight,
    )  # fmt: skip
    return JobRequests(
        requests=requests, defaults=args.defaults, cut=cut, canary=args.canary,
        canary_sample=args.canary_sample, warm_cache=args.warm_cache,
        rows=asked_rows_of(
            rows, RowOptions(**given), model=args.model, defaults=args.defaults, now=datetime.now(UTC)
        ),
    )  # fmt: skip


def given_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the requests or the rows, and what is said about rows, as `run_job` names them.

    :raises InvalidRequest: an option is for rows, and there is no prompt.
    """
    place, chosen = local_uri(args.requests), {name: getattr(args, name) for name in ROW_OPTIONS}
    if args.prompt is not None:
        return {"requests": None, "rows": place, "prompt": args.prompt, **chosen}
    unused = [name for name, value in chosen.items() if value]
    if unused:
        option = {"output_type": "output-schema"}.get(unused[0], unused[0])
        raise InvalidRequest(f"--{option} is for the rows of a table: give --prompt, with ${{column}} places, too")
    return {"requests": place, "rows": None, "prompt": None}


def count(text: str) -> int:
    """Read a whole number that is not negative."""
    if not text.replace("_", "").isdecimal():
        raise argparse.ArgumentTypeError(f"not a whole number: {text!r}")
    return int(text)


def money(text: str) -> Decimal:
    """Read an amount in USD."""
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and amount >= 0):
        raise argparse.ArgumentTypeError(f"not an amount in USD: {text!r}")
    return amount


def rate(text: str) -> float | None:
    """Read a share of failures; None for `any`."""
    return None if text == ANY else number(text, "a share from 0 to 1", lambda share: 0 <= share <= 1)


def growth(text: str) -> float:
    """Read a factor by which `max_tokens` grows."""
    return number(text, "a factor above 1", lambda factor: factor > 1)


def duration(text: str) -> float:
    """Read seconds."""
    return number(text, "seconds above 0", lambda value: 0 < value < float("inf"))


def number(text: str, what: str, fits: Callable[[float], bool]) -> float:
    """Read a number.

    :param what: which numbers are allowed, for the message.
    :param fits: whether it is one of them.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise argparse.ArgumentTypeError(f"not {what}: {text!r}")
    return value


def _defaults(text: str) -> Mapping[str, Any]:
    try:
        data = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        return msgspec.json.decode(data, type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"no JSON object: {error}") from None


def _schema(path: str) -> Mapping[str, Any]:
    return _defaults(f"@{path}")
