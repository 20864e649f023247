"""Every access to PostgreSQL. The SQL statements are in sql/, one per file, each with its index and its reasons.

A worker's connection is synchronous and holds at most one job. The monitor's connection is asynchronous.

    connection     opens both kinds, checks the role and converts errors
    sqlstate       the table of whose fault an error is: one row's, or that of its surroundings
    refusals       rows that the database refused, and the time of their next try
    bounded        timeouts on every wait
    pooled         the same connections behind a transaction pooler
    dsn            reads a connection string without connecting
    platform_probe finds out what the live schema can do beyond the contract of 2025-12
    abilities      the instance's abilities as parameters of the statements that search and count jobs
    contract_check compares a database with the contract, for `check`

    leases         takes a job, and makes and reads lease keys
    cursor         position in the queue at which the next search begins
    submissions    reads a submission under its student's subject
    tasks          reads the submission's task, under its student and course
    permits        the right to one call to a model, as advisory locks
    permit_sessions  the sessions that hold permits, and the end of one that holds a permit for no job
    host_permits   the same as sockets, where a pooler shares the sessions
    checkpoints    commits text that was read, by page or as a whole
    rehearsal      runs a write and rolls it back, before a model is called for it
    usage          records the tokens of models in the transaction of a write
    settle         ends a job, and leases the next one in the same round trip
    attempts       ends a job together with its practice attempt

    polls          waiting jobs, next due time, row counts, stuck and parked rows, jobs by the model that they need next, LISTEN
    dead_leases    takes back the leases of dead workers
    model_lock     lets instances agree on the one model that may be called

    statements     loads sql/*.sql
    document       reads JSON values that may hold anything

Every write after a lease names the job's id and its lease key, so a worker that lost the lease changes nothing.
"""
