"""Rows in, the same rows out with their answers (needs `pyarrow`, extra `parquet`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.tables.errors import OutputTypeError as OutputTypeError
    from airflow_batches.tables.output_type import OutputType as OutputType

_MODULES = {"OutputType": "output_type", "OutputTypeError": "errors"}
__all__ = sorted(_MODULES)
__getattr__, __dir__ = exports(__name__, _MODULES)
