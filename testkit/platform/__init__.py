"""Every mode of the platform's work, on each of its schemas, with our adapters and with foreign ones, to every end.

`case` names the cells of the table, `entry` hands a case's work in as the web application does, `room` has the database and the
workers of one schema and one kind of adapter, `play` runs a case in it, `verdict` compares what was written with the expectation,
and `report` prints it (scripts/platform). `page` writes docs/platform-cases.md. `foreign` is a pair of adapters
that behave like the platform's and fail when they are asked to.
"""
