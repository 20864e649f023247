-- Lists the sessions that hold a permit or a model lock under these keys or wait for it. Key and number of a lock are in classid
-- and objid of pg_locks. The number of a model lock is 0. A worker's lease key and its session's name end with the same eight
-- digits, the number of the worker's process.
-- `is_leased`: that worker has a job whose lease still runs. `is_replaced`: that worker has opened another session since, which a
-- helper process of a parallel query is not. For a session of a role that this one is no member of, the server shows no times.
-- Index (status, visible_at), once for each session: there are only as many leased rows as workers.
select wanted.key, lock.objid::int as number, lock.granted as is_granted, lock.pid as backend_pid,
    session.application_name, host(session.client_addr) as client_address, session.backend_start::text as session_start,
    (extract(epoch from clock_timestamp()) - extract(epoch from session.state_change))::float8 as quiet_seconds,
    pg_has_role(session.usesysid, 'usage') as may_end,
    exists (
        select from public.learning_submission_jobs
        where status = 'leased' and leased_until > clock_timestamp()
            and right(lease_key::text, 8) = right(session.application_name, 8)
    ) as is_leased,
    exists (
        select from pg_stat_activity as other
        where other.application_name = session.application_name and other.backend_start > session.backend_start
            and other.backend_type = 'client backend'
    ) as is_replaced
from unnest(%(permit_keys)s::int[]) as wanted(key)
join pg_locks as lock on lock.classid = (wanted.key::bigint & 4294967295)::oid
join pg_stat_activity as session on session.pid = lock.pid
where lock.locktype = 'advisory' and lock.objsubid = 2
    and lock.database = (select oid from pg_database where datname = current_database())
