"""`python -m airflow_batches.emulator`: print the URL and serve until a signal."""

from __future__ import annotations

import argparse
import sys

from airflow_batches.emulator.command import add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m airflow_batches.emulator", description=__doc__)
    add_arguments(parser)
    sys.exit(run(parser.parse_args(), brief=True))
