"""Rows in, the same rows out with their answers (needs `pyarrow`, extra `parquet`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.tables.answer import Answer as Answer
    from airflow_batches.tables.errors import OutputTypeError as OutputTypeError
    from airflow_batches.tables.output_type import OutputType as OutputType
    from airflow_batches.tables.read import StoredResults as StoredResults
    from airflow_batches.tables.read import read_results as read_results

_MODULES = {
    "Answer": "answer",
    "OutputType": "output_type",
    "OutputTypeError": "errors",
    "StoredResults": "read",
    "read_results": "read",
}
__all__ = sorted(_MODULES)
_load, __dir__ = exports(__name__, _MODULES)


def __getattr__(name: str) -> object:
    try:
        return _load(name)
    except ModuleNotFoundError as exc:
        if exc.name not in {"numpy", "pyarrow"}:
            raise
        raise ModuleNotFoundError(
            f"airflow_batches.tables needs {exc.name}: pip install 'airflow-batches[parquet]'", name=exc.name
        ) from exc
