"""Wait for batches: all waits over one connection share one poll loop.

The journey of a wait, file by file:
1. A trigger calls `async_wait.wait_async`, which adds the wait to the `poller` of its connection. A worker that blocks
   calls `wait.wait` instead, which needs only steps 4 and 5.
2. `waiters` says which batches are due; `paging` chooses the calls that show them: pages of the list, or single gets.
3. `client` makes each call in a thread, and slows the loop down while calls fail. `settings` holds the numbers,
   `metrics` the names of what is counted.
4. `api.polling` decides after each answer whether the wait goes on; its end is an `outcome`. `progress` makes the lines
   of the task's log.
5. `policy` judges the outcome: succeed, skip, fail or retry. `error_report` adds the reasons from the results.
`endings` is another reader of the list: it finds every batch of a workspace that has ended.
"""
