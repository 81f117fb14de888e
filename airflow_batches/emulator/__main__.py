"""`python -m airflow_batches.emulator`: the same as `airflow-batches emulator`."""

from __future__ import annotations

import argparse
import sys

from airflow_batches.emulator.command import add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m airflow_batches.emulator",
        description="The Message Batches API on localhost, for development and tests.",
    )
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
