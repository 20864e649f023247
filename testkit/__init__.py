"""Foundations of the tests, the demo and the benchmarks. Not installed with the product.

Servers: `postgres` (a throw-away server) with `database` and `schema` (as of 2025-12 and as of 2026), `filled_queue`,
`class_tasks` (tasks and practice attempts of 2026), `ollama_simulator`, `real_ollama`, `raw_server`, `object_store`, `provider`
(an OpenAI-compatible server), `host_names` (lookups that hang), `name_server`, `pooler`, `pg_proxy` (counts, cuts and loses
messages), `service_manager`, `far_host`.
Processes: `supervisor_process` and `live_fleet` (a whole supervisor), `bare_worker` (one worker), `platform_worker` (a stand-in
for the platform's own worker, with its other duties), `parent_death`.
Scenes: `environment` (database, Ollama, files) with `site` for fleets and `school` for single workers, `outage`, `kill_sweep`,
`refusals` (a database that refuses single rows), `monitor`, `pending_call`, `tmpfs` (a full or read-only disk), and
`adapters`: faulty ones, and two packages that behave like the platform's.
Work: `submissions`, `schoolwork`, `drawn_pages`, `drawn_marks` (texts that only a right page shows), `picture`, `recording`
(answers of a real Ollama), `results`, `readers` (what the
platform's pages expect of a result).
Programs: `chaos`, `inputs`, `outages` (every request fails in every way), `platform` (every mode ends in every way),
`simulation`. Waiting: `until` in `waiting`.
`metrics_page` writes docs/metrics.md.
"""
