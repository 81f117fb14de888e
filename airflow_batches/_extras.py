"""Which extra of this package installs what an object store needs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("s3fs", "airflow.providers.amazon"),
    "gcs": ("gcsfs", "airflow.providers.google"),
    "azure": ("adlfs", "airflow.providers.microsoft.azure"),
}
SCHEMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "azure"),
}


def install_hint(uri: str) -> str:
    """Return a hint how to install what a URI's store needs, for the end of an error.

    :return: the hint; empty when nothing is missing.
    """
    extra = SCHEMES.get(uri.partition("://")[0])
    if extra is None or all(map(_is_there, EXTRAS[extra])):
        return ""
    return f"; pip install 'airflow-batches[{extra}]'"


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the parent package is missing too
        return False
