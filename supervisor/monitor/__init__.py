"""The monitor process: one asyncio loop, no thread. The supervisor forks it and replaces it when it dies.

`main` starts four tasks:

    queue.listener      owns the only database connection: notifications, polls, dead leases, the model lock
    ollama.controller   samples Ollama and this host, decides how much work is admitted, loads and unloads models
    http.serve_metrics  /metrics and /healthz on STATUS_ADDR
    http.serve_control  the status document and an operator's commands, on the instance's Unix socket

It also registers descriptors with the loop: `events` reads the workers' datagrams as they arrive, on one socket for each slot.
Only the listener uses the connection. The others put a request into `queue.requests`, and the listener carries it out.
`state` is what the monitor knows. `status` and `metrics` are made from it and from the scoreboard.
A dead monitor costs some polls, and no job: workers poll by themselves, and its successor repeats open requests.
"""
