"""The supervisor, and all other code that is not a worker's: two processes, the commands, and what all of them share.

Processes of a running instance
    main, launcher   the supervisor's composition root, and the entry point of each forked child
    loop, system     the main loop, and the operating system behind it: signals, children, scoreboard, channel
    commands         an operator's scale, recycle and reload become facts or are rejected
    instance_guard   restores the lock file of the instance while it runs
    systemd          sd_notify; the messages themselves are in `notification`
    monitor/         the monitor, a child: queue and Ollama, /metrics, status page, control socket, leases of dead workers

Commands in processes of their own
    cli/             `learning-supervisor start, status, check, doctor, scale, recycle, reload`
    doctor/          the examination of Ollama
    findings         the results that `check` and `doctor` print

Shared
    core/            fleet, facts, `apply`, rules and actions. Pure. Its docstring is the place to start
    admission/       the rules by which the monitor limits calls to Ollama. Pure
    adapters/        fork, signals, memory, descriptors, log stream, runtime directory, lock of an instance, survivors
    settings/        every setting, its sources, and the versions that a reload makes
    event_log        every log event except the workers', and its keys
    exit_codes       every exit code

The supervisor process itself has one thread and no connection to a database or server. It imports the code of its children
and runs it only after the fork. The memory and the messages that the processes share are in worker.ipc.
"""
