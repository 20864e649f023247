"""The supervisor: forks workers and a monitor, watches them, decides. One thread, no database, no network.

Where to find what: `cli` the commands, `start` puts everything together, `loop` the main loop, `settings` every number,
`journal` every log line, `channel` the messages to and from the monitor, `status_view` and `checkup` what `status` and
`check` show. `core` decides and has no effects, `adapters` are the effects, `monitor` is the process that looks outside.
"""
