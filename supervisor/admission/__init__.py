"""Admission: how much work may reach the Ollama server, and which models are loaded there. Pure, without effects or a clock.

Why does work wait?

    too much memory is used    `rules`: hold_over_the_limit
    the server is away         `rules`: close_all_while_the_server_is_away
    files cannot be read       `store`
    a model fails              `breaker`, with its `probes`
    calls died together        `rules`: ask_alone_after_a_death
    two models share Ollama    `turns`
    a model is not loaded      `loads`, with its states in `model_state`
    no job starts at all       `stall`

Ollama can be full, absent, stuck, or unable to hold two models at once. A job that runs into this loses an attempt or minutes.
Admission therefore limits two things:

* **slots**: how many worker slots may lease a job. A running job is never interrupted.
* **gates**: for each model, how many calls may be in flight at once. 0 closes the gate. A worker that reaches a closed gate
  releases its job to its old place without using an attempt, and leases a job for another model if there is one.

Words
-----

A *model* is one of ours, by the name that Ollama lists (`x:latest`). The *list* is an answer of /api/ps. A *sample* is one
measurement: the list, the host's memory, our workers, or the queue. The server is *away* while no connection to it can be made.
The *store* is the object store or the local root, where pictures and documents are. *Used memory* is the larger of what the
list reports and what Ollama's processes occupy, because either may be too low. A *turn* is a period in which one model is
*active*: the only one that may be called. The *model lock* is the database lock by which all instances agree on it. A *stall*
is a period in which jobs wait and no worker holds one. An *eviction* unloads idle models in a stall. A *canary* is one job that
is admitted in a stall to show whether more may run. A *probe* is a tiny request of the monitor's own that shows whether a
failing model or the store is back. The first call after it is a canary as well.

The loop
--------

    samples, ends of calls, loads, unloads        `facts`
          |
          v
    apply(state, fact) -> state                   `apply`, `state`, `model_state`, `interference`, `replacements`
          |
          v
    decide(state, policy, now) -> Decision        `rules`, with `turns`, `loads`, `stall`, `breaker`
          |
          +--> slots, calls, until_seconds        written to the scoreboard, read by workers; back as DecisionPublished
          +--> acts: Preload, Unload, Probe,      performed by the monitor; back as LoadBegun, LoadEnded, UnloadBegun,
               ProbeStore, AcquireModelLock       UnloadEnded, ProbeBegun, ProbeEnded, …, ModelLockChanged

The monitor runs the loop for each sample, each end of a call and each change of the queue. Each rule yields limits, each with a
reason. The tightest limit counts, and all reasons are published. Because decisions and acts return as facts, a rule needs no
memory of its own, and `decide` gives the same answer to the same question.

Reasons
-------

    HoldReason   limits   begins when                                         ends when
    MEMORY       slots    used memory exceeds the limit                       it falls below low water
    UNKNOWN      slots    a limit is set, and no list for `grace_seconds`     the next list
    EVICTION     slots    models are evicted                                  they are gone, or after `unload_seconds`
    REOPENING    slots    slots were closed and the reason is gone            all workers have an open slot
    CANARY       relaxes  a stall is too long, and no eviction is possible,   a job is leased or a call ends
                          or one did not help
    SERVER       gates    the list shows that the server is away              the next list that is not: RAMPING
    STORE        pictures a file fails by the store's fault                   a probe is answered: RETURNING
    RETURNING    1 pict.  the store answered a probe                          a file is read, or STORE
    WEDGED       gate     calls in flight, no token within the call timeout   a token, or no call is in flight
    BREAKER      gate     failures in a row                                   a probe is answered: RAMPING
    RAMPING      1, 2 …   a probe was answered, or the server is back         as many calls as the model takes, or a failure
    ALONE        1 call   calls failed within a second                        as many calls have ended
    LOADING      gate     the model is not loaded, or is being unloaded       it is loaded, or UNLISTED
    UNLOADABLE   gate     the same, a load failed and jobs wait               a load succeeds
    EXCLUSIVE    gate     the models do not fit and the other one is active   its own turn begins
    TURNS        gate     the models slow each other down, or this is         its own turn begins, or they no longer do
                          measured, and the other one is active

Memory: over the limit all slots close at once. Between low water and limit their number stays. Below low water one slot opens
every `reopen_seconds`, so that the effect of each is measured before the next.

Stall: after `max_hold_seconds` our loaded models are evicted once, if the memory limit causes the stall. If that does not help, a
canary relaxes the limits: one slot opens, and one call to a model that cannot be loaded or whose list fails.

Breaker, one for each model. A silent call counts as three failures, because it used a whole timeout:

             5 failures                  a probe is answered
    closed ------------> open (BREAKER) ---------------------> RAMPING --> closed
                          |      ^                               |
                          +------+------------ a call failed ----+
                       probe failed

Probes follow each other every `probe_seconds`, however long the outage is, because none costs a job. A model that is not loaded
is loaded before its probe. If silence tripped the breaker and the probe is silent too, the model is unloaded, once for each
trip, because a stuck process does not recover by waiting.

Away: a refused call says nothing about the model, so it counts neither for the breaker nor as a death. Deaths: a picture that
ends the model's process ends its neighbours too, and only calls that are asked alone show which one it was.

Store: only unread pictures need it, so only the vision step is limited. See `store`.

Loads
-----

A model that waiting jobs need is loaded by a request without a prompt, one load at a time, so that no job pays for it. Failed
loads are repeated after waits that double, and within seconds if they fail at once. UNLISTED means that Ollama uses another
name or keeps no model. Its gate stays open.

Two models
----------

*Exclusive* models do not fit together: the server loads one only, both sizes exceed low water, or the server has replaced each by
the other three times in a row. A turn then lasts ten loads or more. The other model is unloaded, and its memory awaited, first.
*Turns* without unloads are for models that fit and slow each other down on the same cores. `Interference` measures the speed
of each model alone and together. If both together do less than `turns_below` of what they do by turns, turns are taken. If a
model is never alone, a trial of short turns measures it. A speed that was measured together is dropped after an hour.

In both cases a turn ends at once when its work is done, otherwise after its length, if the other model's oldest job has waited as
long. An instance calls the active model only while it holds that model's lock. It requests the lock after its own calls to the
other model have ended. Any number of instances hold the lock of one model, and none that of the other. Until then both gates
of an instance stay closed.

Failures
--------

* Ollama away: both gates close at once. The workers' calls are repeated without an attempt.
* Ollama's list silent: without a memory limit work goes on. With one, all slots close after `grace_seconds`. No model is loaded.
* Monitor dies: with a memory limit the decision expires at `until_seconds`, and no worker leases after it. Without one it stays
  valid. The next monitor starts with the published slots and learns everything else anew.
* Database away: the model lock is lost, so during turns both gates close until it is acquired again.
* Other instances: their calls are not visible. An unload is cancelled if one of them has a permit for the model.

All times are seconds of the monitor's monotonic clock, given as arguments. They are never compared with the database's clock.
"""
