"""TaskFlow: `@task.message_batch`."""
