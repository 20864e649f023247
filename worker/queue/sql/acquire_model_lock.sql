-- Takes a model's lock, a shared advisory lock that any number of instances may hold. No instance may hold it while another
-- holds the lock of the other model. No table is read, and the statement never waits.
-- It first takes the model's own lock. Then it tries the exclusive lock on the other model's key, which succeeds only while
-- no instance holds that key. The exclusive lock is always given back.
--
--   own lock                        | exclusive lock on the other key     | given back    | is_ours
--   --------------------------------+-------------------------------------+---------------+--------
--   taken                           | taken: the other model is not held  | the exclusive | true
--   taken                           | refused: the other model is held    | the own       | false
--   taken                           | refused: another attempt is running | the own       | false
--   refused: an attempt for the     | not tried                           | nothing       | false
--            other model is running |                                     |               |
--
-- Two instances that try different models at the same moment may both be refused, but never both succeed.
-- `offset 0` keeps the planner from merging the nested selects. Merged, a lock function would be called once for each use of
-- its result, and a lock would be taken twice.
select case
        when not is_in then false
        when is_alone then pg_advisory_unlock(%(other_key)s::int, 0)
        else not pg_advisory_unlock_shared(%(own_key)s::int, 0)
    end as is_ours
from (
    select is_in, case when is_in then pg_try_advisory_lock(%(other_key)s::int, 0) else false end as is_alone
    from (select pg_try_advisory_lock_shared(%(own_key)s::int, 0) as is_in offset 0) as own
    offset 0
) as locks
