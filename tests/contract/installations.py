"""Clients that do not fit beside Airflow, each in a folder of its own, installed once for all workers."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


class InstallationFailed(Exception):
    """The package index was not reached, or refused."""


def run(*command: str) -> None:
    """Run an installer. Raises InstallationFailed with the end of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallationFailed(f"{' '.join(command)}: {done.stderr[-500:]}")


def installed(shared: Path, name: str, install: Callable[[Path], None]) -> Path:
    """Return the folder with that name below `shared`, filled by the first process that asks for it.

    The test is skipped where the package index is not reached; `.ci/run` fails on a skipped test.
    """
    folder, done = shared / name, shared / f"{name}.installed"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            try:
                install(folder)
            except (InstallationFailed, FileNotFoundError) as error:
                pytest.skip(f"{name} cannot be installed: {error}")
            done.touch()
    return folder


def pip_target(*arguments: str) -> Callable[[Path], None]:
    """Return an installer into a folder that is put in front of what is installed; `arguments` are pip's."""
    return lambda folder: run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *arguments)


def program(name: str) -> str:
    """Return the path of a program: that of the environment, or else of the machine."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name) or name


def npm(*packages: str) -> Callable[[Path], None]:
    """Return an installer into a folder's `node_modules`."""
    options = ("--silent", "--no-audit", "--no-fund")
    return lambda folder: run(program("npm"), "install", *options, "--prefix", str(folder), *packages)
