"""The monitor's side of the queue. One task, `listener`, owns the only database connection.

requests    what other tasks ask of the connection
listener    connects, listens for notifications, polls, serves the requests, publishes the monitor's deadline
waker       chooses the worker to wake for a notification, and wakes it through its eventfd
reclaimer   reclaims the leases of dead workers and dead instances
permit_watch, permit_waits
            ends sessions that hold a permit for no job, and finds the holders for which slots wait. `permit_waits` is pure
refused_rows
            jobs whose rows the database refuses to change, for `status`
silent_instances
            other instances that hold jobs and do nothing, for `status`. Pure
model_lock  holds the lock that gives one of two models the server, agreed on by all instances
"""
