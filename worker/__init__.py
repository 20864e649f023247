"""A worker: one process, one PostgreSQL connection, one job at a time.

The process, from the top down:
  main           runs first after the fork
  loop           leases a job, works on it, settles it, waits
  settling       writes the outcome of a job, or what the database accepts instead
  lease_search   leases the next job, past rows that the database refuses
  job            the steps of one job, by its mode
  vision         the vision step, page by page
  feedback       the feedback step: on a text, on the pages themselves or on a dialog
  visual         the same on pages, one after another, for an adapter that judges each by itself
  adapter_calls  calls an adapter and turns its exception into the job's outcome
  foreign_call   ends a call to an adapter of another package at its limit
  held_lease     renews the lease of the job in hand and takes permits for model calls
  neighbours     other workers' calls to a model, as evidence about a failed one
  context        what does not change from job to job
  rivals         other jobs' writes, to tell an error of one row from one of all
  session        keeps a database connection across outages
  report         publishes the worker's record and sends its events
  wakeups        ends a wait
  admission      reads the permission to lease and to call a model
  model_places   rejects models that run elsewhere
  timeouts, memory, settings
  amounts        sizes and durations of settings
  trial          what `check` tries with the worker's code
  suspension     time for which this host was suspended
  names          looks host names up in a child process, also for the monitor and the commands

The packages:
  ipc            scoreboard, pauses, contract and channel, shared with supervisor and monitor, and the descriptors kept from
                 forks
  queue          every SQL statement, for worker and monitor
  ollama         client of the model server, and its limits on an answer
  documents      fetches a submission's file and decodes it in a child process
  adapters       vision and feedback, with their prompts, and the stub
  core           decisions without effects: outcome, abilities, modes, task, platform, practice, usage, faults, adapter_codes,
                 evidence, retry, refusal, checkpoint, joining, criteria, gates, errors
"""
