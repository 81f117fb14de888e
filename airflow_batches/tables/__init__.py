"""Rows in, the same rows out with their answers (needs `pyarrow`, extra `parquet`)."""
