"""Two real fleets, a database server and a model server with random faults. At the end every submission is checked.

plan              submissions and faults of a run, drawn from a seed
submissions       the content of each submission, made from seed and number
environment       database, simulator, files, proxies and the two fleets
fleet             one supervisor, restarted after each end as by systemd
scheduler         functions and their times
fault_injector    the effect of each kind of fault
repeat_killer     kills every worker that leases a certain job
silent_link       drops every packet between a host and the database server
refused_rows      writes that the database refuses
outages           outages of servers, names and files, locks, and a submission that kills the model's runner
stopped_backends  server processes of workers that get SIGSTOP
helper_leaver     lets an adapter leave a process and kills its worker
helper_processes  finds and ends the processes that adapters have left
status_sampler    asks each host for its status every second
run               plays the plan, then waits until the queue is empty
collect           reads the run's record from database, simulator and logs
run_record        the types of this record
checks            finds violations: lost, written twice, read again, failed without a reason
own_faults        the planned cause of a failed submission: its own fault, or another's
rerun             the reason for which a job was started again
recovery          the longest time without progress, the longest standstill, and the recovery time after each fault
truth             the times at which `status` was not true
intervals         arithmetic with intervals of time
report            the figures as a table or JSON, and the timeline of each violation
"""
