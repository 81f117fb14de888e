"""The commands `airflow-batches plan`, `run`, `status` and `cancel`: a job without Airflow.

`options` are shared; `display` shows a job that runs, `summary` describes one that does not; `interrupt` stops a run
between two steps.
"""
