"""The supervisor: forks workers and a monitor, watches them, decides. One thread, no database, no network.

Where to find what: `cli` the commands, `start` puts everything together, `loop` the main loop, `settings` every number,
`settings_versions` those settings by the time they were read, `journal` every log line, `notification` what systemd is told,
`channel` the messages to and from the monitor, `status_view` and `checkup` what `status` and `check` show. What an operator
orders goes from `order_command` through `monitor.order_line` to `order_desk`. `core` decides and has no effects, `adapters`
are the effects, `monitor` is the process that looks outside.
"""
