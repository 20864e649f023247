-- Leases one job: the oldest expired lease if there is one, otherwise the oldest visible job. Jobs with an obstacle, which this
-- instance cannot do, are passed over: see obstacle.sql.
-- An expiry is counted against the job, unless a session shows that the lease's owner lives: its worker, whose name ends with the
-- last eight digits of the key, or the monitor of its instance, whose name ends with the first eight. Then the database has kept
-- the owner from ending the lease, or the owner was suspended.
-- Expired leases with one of the `sibling_keys` are skipped: their workers of the same instance live and still want to end them, as
-- after an outage of the database, when one worker is connected again before another.
-- With a `position` the search begins at that `visible_at`. It skips expired leases, all earlier jobs, and the dead index entries
-- before it, which stay as long as any snapshot is open.
-- Index (status, visible_at), twice: there are only as many leased rows as workers, and the queued rows are walked from the
-- oldest on, so nothing is sorted. The update finds its row by id as a value, because for a join the planner might read all rows.
-- Times come from the database's clock.
-- The job's student is the subject until the transaction ends, because read_leased.sql may follow.
with expired as (
    select id
    from public.learning_submission_jobs
    where %(position)s::timestamptz is null and status = 'leased' and leased_until <= clock_timestamp()
        and coalesce(lease_key <> all(%(sibling_keys)s::uuid[]), true)
        and case when {obstacle} is null then true else false end
    order by visible_at
    limit 1
    for update skip locked
), queued as (
    select id
    from public.learning_submission_jobs
    where status = 'queued' and visible_at <= now() and not exists (select from expired)
        and visible_at >= coalesce(%(position)s::timestamptz, '-infinity')
        and case when {obstacle} is null then true else false end
    order by visible_at
    limit 1
    for update skip locked
)
update public.learning_submission_jobs as job
set status = 'leased',
    lease_key = %(lease_key)s,
    leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
    updated_at = clock_timestamp(),
    payload = case
        when exists (select from expired) and jsonb_typeof(job.payload) = 'object' and not exists (
            select from pg_stat_get_activity(null) as session
            where session.application_name like 'learning-supervisor %%'
                and right(session.application_name, 8) in (left(job.lease_key::text, 8), right(job.lease_key::text, 8)))
        then jsonb_set(job.payload, '{expiries}', to_jsonb(case
            when jsonb_typeof(job.payload -> 'expiries') = 'number'
            then least(greatest((job.payload ->> 'expiries')::numeric, 0), 1000)::int + 1
            else 1 end))
        else job.payload
    end
where job.id = coalesce((select id from expired), (select id from queued))
returning job.id, job.submission_id, job.lease_key, job.payload, job.retry_count, job.error_code,
    job.visible_at::text,
    (extract(epoch from clock_timestamp()) - extract(epoch from job.created_at))::float8 as age_seconds,
    set_config('app.current_sub', job.payload ->> 'student_sub', true),
    set_config('app.leased_submission', job.submission_id::text, true)
