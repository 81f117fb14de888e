"""Run a job: any number of requests, one folder of answers.

`ledger` holds the state of a job, `store` keeps it beside the answers.
"""
