"""DAGs whose runs are written into Airflow's tables (`tests.browser.seed`): many, or in a state that passes."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_batches.operators import MessageBatchJobOperator, MessageBatchSubmitOperator

HOSTILE = '<img src=x onerror="parent.hurt=1"><script>parent.hurt=1</script>\'"&amp;{{ 7*7 }}'

with DAG("crowd", schedule=None):
    MessageBatchSubmitOperator(task_id="submit", requests=[])

with DAG("under_way", schedule=None):
    MessageBatchJobOperator(task_id="answer", requests=[], path="s3://lake/answers")
    MessageBatchSubmitOperator(task_id="submit", requests=[])

with DAG("hostile", dag_display_name=HOSTILE, schedule=None):
    MessageBatchJobOperator(task_id="answer", task_display_name=HOSTILE, requests=[], path="s3://lake/answers")
