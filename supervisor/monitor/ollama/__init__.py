"""Admission: how many slots may lease, and how many calls each model may have. One task, `controller`, decides.

    controller  samples, asks the rules of supervisor.admission, publishes the decision, carries out loads and unloads
    server      requests to the Ollama server: list, load, unload, probe
    host        memory of this host and of Ollama, by `processes` (psutil), a cgroup or `gpu` (NVML)
    workload    calls in flight, from the scoreboard, and jobs that wait for each model
    suspects    jobs whose calls failed since the last answer
    policy      the settings, as the numbers of the rules
    view        the decision and its reason, in words for status and log
    metrics     the same as metric families
    counters    totals that outlive the monitor, kept in the scoreboard

Loads, unloads, probes and list requests are tasks of their own, so that a slow server never delays a decision.
"""
