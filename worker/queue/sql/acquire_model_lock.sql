-- A model's phase is the shared lock on its key: any instance may be in it, none while another is in another model's. Each takes
-- its own first and looks at the other's then: two that come at once may both find the other there, but never are both in.
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
