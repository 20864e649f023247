-- Leases one job as lease.sql does, while the gate of one or both models is closed or the database has refused rows: the first job
-- whose next model has an open gate and whose row was not refused. It examines the expired leases and the first hundred jobs of the
-- queue. A job with typed text, a dialog or a checkpoint needs the feedback model next, any other job the vision model.
-- `skipped_job_ids` came to a closed gate before. `refused_job_ids` and jobs with an obstacle (obstacle.sql) do not count among the
-- hundred. The payloads of the former may be damaged, so they are excluded before a payload is read: the order of `case` is fixed,
-- that of `and` is not. `sibling_keys`: as in lease.sql.
-- Index (status, visible_at), twice. The hundred rows are read without locks, so that other workers can read them too. The one
-- that is chosen is locked and checked again by its primary key. The returned position is the start of the queue, because older
-- jobs were passed over.
-- The job's student is the subject until the transaction ends, because read_leased.sql may follow.
-- A statement of its own, because one statement for both makes each lease with open gates 0.13 ms (a third) slower.
with expired as (
    select id
    from public.learning_submission_jobs
    where %(position)s::timestamptz is null and status = 'leased' and leased_until <= clock_timestamp()
        and coalesce(lease_key <> all(%(sibling_keys)s::uuid[]), true)
        and id <> all(%(skipped_job_ids)s::uuid[])
        and case when id = any(%(refused_job_ids)s::uuid[]) then false
            when {obstacle} is not null then false
            when payload ->> 'kind' in ('text', 'dialog') or payload ->> 'cached_text_md' is not null
            then %(feedback)s::boolean else %(vision)s::boolean end
    order by visible_at
    limit 1
    for update skip locked
), queued as (
    select job.id
    from (
        select id, visible_at, payload
        from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now()
            and visible_at >= coalesce(%(position)s::timestamptz, '-infinity')
            and case when id = any(%(refused_job_ids)s::uuid[]) then false when {obstacle} is null then true else false end
        order by visible_at
        limit 100
    ) as ahead
    join public.learning_submission_jobs as job on job.id = ahead.id
    where not exists (select from expired) and job.status = 'queued' and job.visible_at <= now()
        and ahead.id <> all(%(skipped_job_ids)s::uuid[])
        and case when ahead.payload ->> 'kind' in ('text', 'dialog') or ahead.payload ->> 'cached_text_md' is not null
            then %(feedback)s::boolean else %(vision)s::boolean end
    order by ahead.visible_at
    limit 1
    for update of job skip locked
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
    '-infinity' as visible_at,
    (extract(epoch from clock_timestamp()) - extract(epoch from job.created_at))::float8 as age_seconds,
    set_config('app.current_sub', job.payload ->> 'student_sub', true),
    set_config('app.leased_submission', job.submission_id::text, true)
