"""The monitor process: one asyncio loop, no thread. The supervisor forks it and replaces it when it dies.

`main` starts five tasks:

    queue.listener      owns the only database connection: notifications, polls, dead leases, the model lock
    ollama.controller   samples Ollama and this host, decides how much work is admitted, loads and unloads models
    progress_watch      samples the progress of the work each second, logs a standstill, mends what the monitor can
    http.serve_metrics  /metrics and /healthz on STATUS_ADDR
    http.serve_control  the status document and an operator's commands, on the instance's Unix socket

It also registers descriptors with the loop: `events` reads the workers' datagrams as they arrive, on one socket for each slot.
Only the listener uses the connection. The others put a request into `queue.requests`, and the listener carries it out.

Its knowledge, and the pages that are made from it:

    state, slot_status  the monitor's own knowledge, and a slot of the scoreboard
    work, progress      the work of this instance as facts, and the decision whether it stands still. `progress` is pure
    left_queued         jobs that this instance cannot do, in words
    rate_limits         pauses of a foreign adapter's provider
    suspensions         workers whose processes are stopped, sampled each second
    status, outages     one state and one message about it, and the words for outages of the database
    document, metrics   the status document, and /metrics
    events              a worker's event goes to the log, the metrics and the state
    outgoing            one HTTP request of the monitor, to Ollama or to the object store
    store               probes of the store of the files, and its hold in words
    pending_commands    commands on their way to the supervisor

A dead monitor costs some polls, and no job: workers poll by themselves, and its successor repeats open requests.
"""
