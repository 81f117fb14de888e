"""TaskFlow: `@task.message_batch` and `@task.message_batch_job`.

The journey of a decorated function, in `message_batch`:
1. `message_batch_task`, which the provider registers with Airflow, makes a submit operator of the function.
2. `execute` binds the function to its arguments and sets it as the operator's `requests`, hidden from rendering.
3. From there on it is `operators.submit`: submit once, wait, return the batch's id.

`message_batch_job` makes a job operator, whose `prompt` is the function; see `operators.job`.
"""
