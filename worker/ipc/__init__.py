"""Shared parts of the three processes of an instance: supervisor, worker and monitor.

All records are in the `scoreboard`, shared memory with one writer per record. The `contract` defines the numbers in them, the
exit codes, the descriptors that a child inherits, and the events that a worker sends to the monitor. The `channel` carries
messages between supervisor and monitor. `descriptors` keeps a worker's descriptors from the processes that an adapter forks.
`backoff` is the one rule for waiting after failures. This package imports nothing else of the product.
"""
