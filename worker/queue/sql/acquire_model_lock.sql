-- Takes a model's lock, a shared advisory lock that any number of instances may hold. No instance may hold it while another
-- holds the lock of the other model. No table is read, and the statement never waits.
-- It first takes the model's own lock and then looks for a session with the lock of the other model. If there is one, the own lock
-- is given back. Two instances that try different models at the same moment may both be refused, but never both succeed, because
-- each takes its lock before it looks.
-- `lost_pids` are sessions that the server was asked to end and cannot end yet: their locks do not count.
-- `offset 0` keeps the planner from merging the selects, and `own.is_in` makes the search depend on the lock, so that it comes after
-- it.
select case
        when not is_in then false
        when is_other_held then not pg_advisory_unlock_shared(%(own_key)s::int, 0)
        else true
    end as is_ours
from (
    select is_in, exists (
        select from pg_locks
        where own.is_in and locktype = 'advisory' and objsubid = 2 and objid = 0 and granted
            and classid = (%(other_key)s::bigint & 4294967295)::oid and pid <> all(%(lost_pids)s::int[])
            and database = (select oid from pg_database where datname = current_database())
    ) as is_other_held
    from (select pg_try_advisory_lock_shared(%(own_key)s::int, 0) as is_in offset 0) as own
    offset 0
) as locks
