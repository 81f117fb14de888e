"""Rows in, the same rows out with their answers (needs `pyarrow`, extra `parquet`).

The journey of a table, without Airflow and without a job's state:
1. `rows` opens files, tables and iterables (`row_*`); `prompt` makes the prompt of each row (`rendering`), `params` its
   request; `requests` numbers them (`distinct`) and stores what is kept of the rows (`rows_object`).
2. `output_type` turns a type into a schema that the API takes (`type_schemas`, `closed_schema`, `sent_schema`), and
   answers into checked values (`answer_check`) and columns (`arrow_types`, `arrow_columns`).
3. `answers` keeps landed lines on disk by the number of their request (`block_file`), as columns (`answer_columns`).
4. `parts` joins rows with answers and writes them (`part_formats`).
5. `read` opens what was published (`stored`, `stored_batches`).
"""

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
__getattr__, __dir__ = exports(__name__, _MODULES)
