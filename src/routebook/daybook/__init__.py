"""The local book of original entry: intents and outcomes, durable, one a worker process."""
