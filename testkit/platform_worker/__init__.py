"""Stand-in for the platform's own worker, as a process: `python -m testkit.platform_worker YEAR`.

It does one job after the other with the adapters of the environment, leases for WORKER_LEASE_SECONDS × WORKER_LEASE_MULTIPLIER
without renewal, takes jobs up to 30 s early, and names no lease key in a later write. SIGTERM ends it within a job. The worker of
2026 also does the other duties of `duties.sql` between jobs. With WORKER_TEST_RUN_ID it leases only the jobs of that run.

`queue` has its statements, `job` the work on one job, `duties` the other duties, and `process` starts it for a test.
"""
