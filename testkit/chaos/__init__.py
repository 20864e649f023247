"""Two real fleets, a database server and a model server with random faults. At the end every submission is checked.

plan            submissions and faults of a run, drawn from a seed
submissions     the content of each submission, made from seed and number
environment     database, simulator, files, proxies and the two fleets
fleet           one supervisor, restarted after each end as by systemd
scheduler       functions and their times
fault_injector  the effect of each kind of fault
repeat_killer   kills every worker that leases a certain job
run             plays the plan, then waits until the queue is empty
collect         reads the run's record from database, simulator and logs
run_record      the types of this record
checks          finds violations: lost, written twice, read again, failed without a reason
rerun           the reason for which a job was started again
recovery        the longest time without progress, and the recovery time after each fault
report          the figures as a table or JSON, and the timeline of each violation
"""
