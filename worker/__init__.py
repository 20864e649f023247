"""A worker: one process, one PostgreSQL connection, one job at a time.

Where to find what: `main` is the first code after the fork, `loop` the serial loop, `steps` what is done with one job,
`vision_step` the pages of a picture or a document, `calls` what an adapter's answer means, `limits` how long all may take,
`held_lease` the lease and the permit in hand, `session` the connection across outages, `report` what the worker tells
about itself, `inbox` what ends its waits. `core` decides and has no effects, `job_queue` holds every SQL statement,
`adapters` the model, the files and the documents. `contract` and `scoreboard` are shared with the supervisor.
"""
