"""The model of the supervisor: a fleet, facts that change it, rules that decide actions. Pure: no clock, no randomness, no I/O.

The fleet
    A `Fleet` is a frozen value and the supervisor's whole state: the worker slots, the monitor's slot, and what was requested
    of all of them together (size, stop, reload, leases to reclaim). A slot is a numbered place for one process. It survives
    restarts and keeps totals, while each process in it has a pid and a random incarnation, which marks its records.

The states of a slot, and the facts that lead from one to the next (`SLOT_TRANSITIONS` in apply.py is the table)

               Spawned              first DeadlineSet
     VACANT ------------> STARTING ------------------> RUNNING
        ^                     |                           |
        |                     +-------- Terminated -------+
        |                                   |
        | Exited, from                      v
        | every other state             STOPPING
        |                                   |
        |                                   | Killed, also from STARTING and RUNNING
        |                                   v
        +------------------------------- KILLED

    SpawnFailed leaves a slot VACANT. DeadlineSet, Measured and Retired add to what is known of a process and change no state,
    but for the first deadline of a life, which ends its boot. A killed process keeps its slot until it is reaped.

The loop (supervisor/loop.py)

     system.wait ----- facts -----> apply(fleet, fact) ---> fleet
         ^                                                    |
         |                                                    v
     system.perform <-- actions --- decide(fleet, policy, now), wake_at(fleet, policy, now)

    Performing an action yields a fact again, such as Spawned or Killed. What could not be done yields none, and the rules
    decide it again in the next turn. The rules depend on the present state and not on the last fact. Therefore a lost signal
    or a skipped turn needs no code of its own. The first rule that yields an action for a slot wins.

Writers
    * Only `apply` makes a new fleet. Rules only yield actions, and the system only yields facts.
    * A worker writes only its own scoreboard record. It parses hostile documents, so its record is a claim: bounds are
      checked, a deadline more than a day ahead is capped, and pids always come from the supervisor's own fork.
    * The supervisor writes the ledger of each slot, the record of the fleet and the control record.

Invariants (numbers of README.md, "What always holds")
     1  A slot holds at most one process, and a signal goes only to a child that is not yet reaped, or to a survivor of one.
     2  After a request to stop nothing is started. An empty fleet follows within the drain timeout, two ticks, and
        `reclaim_seconds` for reclaiming leases.
     3  SIGKILL needs an expired grace period, an exceeded deadline in a drain, the hard memory limit, the end of the drain or
        the third request to stop.
     7  A job that kills its workers is quarantined: `DeadLease.is_counted` tells the monitor whether to count the death. A
        hang before a model was asked or in a foreign call does not count, nor the first such crash of a job (culprits.py).
     8  A crash loop costs at most `burst_starts` forks per slot in `burst_seconds`, and the healthy slots go on.
    10  `decide` is a function: equal arguments give equal actions. `apply` raises ImpossibleFact for a fact that cannot happen.

A stop, in the order of its rules
    1  terminate_for_the_drain   The first request sends SIGTERM to every worker. Idle ones leave, busy ones finish their job
                                 or release it between two steps. The control record lets no slot lease.
    2  kill_hung_in_a_drain      A worker whose step or boot takes too long is killed after its grace period, not at the end.
    3  kill_after_the_drain      At the drain's end the rest is killed. The second request leaves `drain_shortened_seconds`,
                                 the third leaves nothing. `drain_by` computes the end.
    4  reclaim_dead_leases       Meanwhile the monitor reclaims the leases of the killed workers.
    5  stop_monitor              The monitor is stopped last, when no worker and no lease is left, or after `reclaim_seconds`.
       kill_late_monitor         A monitor that does not leave is killed.
    6  finish                    With no process left the supervisor ends. The next start reclaims the leases that are left.
    One process that must end alone has the same order: SIGTERM, `terminate_grace_seconds`, then kill_after_the_grace.

Failures
    a fork fails             SpawnFailed. The slot waits as after a crash, but it counts neither as a start nor as a crash.
    a process crashes        Exited with one cause (exit_causes.py). The slot does not wait after the first crash. After each
                             further one it waits a random part of a time that doubles. After crashes without any
                             progress of a worker the supervisor gives up (`restart_intensity`, `restart_window_seconds`).
    a process hangs          Its deadline passes. It gets SIGTERM, then SIGKILL.
    a permit is lost         A worker waits for a permit longer than the longest step while none is in a call. All workers are
                             replaced, because the end of a session frees what it holds (`terminate_for_an_unused_permit`).
    a fork outlives a worker SurvivorKilled. It changes no slot and is logged. The system finds it by its descriptors.
    a signal is lost         SIGCHLD: each turn reaps all ended children. SIGTERM to a child: SIGKILL follows at `stop_by`.
    a record is damaged      A worker's record: the last deadline that was valid counts, and passes. A record of the
                             supervisor: it is compared and rewritten in each turn.
    the monitor dies         Its slot is filled like a worker's. Workers go on and poll. Its successor is asked again for all
                             leases that are not yet reclaimed.
    new settings are bad     A worker with them ends with EX_CONFIG before its first job. The fleet goes back to the last
                             settings with which a worker reached the database, or stops if there are none.
    a fact is impossible     ImpossibleFact ends the supervisor, because it no longer knows which processes it has. The
                             kernel then kills the children, and the next supervisor reclaims their leases.

Times
    All times are seconds of the monotonic clock. The processes of one host share it, so deadlines of workers and times of the
    supervisor can be compared. `now` is an argument and is the time of the last observation. After a suspension of the
    supervisor, deadlines are therefore compared with the time at which they were read. Leases have times of the database,
    which are never compared with these.
"""
