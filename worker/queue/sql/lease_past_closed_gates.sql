-- As lease.sql, while the gate of a model is closed: the first job whose next step is open, among the expired leases and else
-- among the first hundred of the queue. A job without a text goes to the vision model next: typed text and a checkpoint need
-- no picture read. `skipped_job_ids` are those that came to a closed gate nevertheless.
-- Index (status, visible_at), twice; the hundred are read without a lock, so that others may look at them too, and the one
-- that is taken is looked at again under its lock. Primary key. The next look begins at the start: older jobs were passed over.
-- Until the transaction ends its student is the subject, so that read_leased.sql may follow.
with expired as (
    select id
    from public.learning_submission_jobs
    where %(since)s::timestamptz is null and status = 'leased' and leased_until <= clock_timestamp()
        and id <> all(%(skipped_job_ids)s::uuid[])
        and case when payload ->> 'kind' = 'text' or payload ->> 'cached_text_md' is not null
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
            and visible_at >= coalesce(%(since)s::timestamptz, '-infinity')
        order by visible_at
        limit 100
    ) as ahead
    join public.learning_submission_jobs as job on job.id = ahead.id
    where not exists (select from expired) and job.status = 'queued' and job.visible_at <= now()
        and ahead.id <> all(%(skipped_job_ids)s::uuid[])
        and case when ahead.payload ->> 'kind' = 'text' or ahead.payload ->> 'cached_text_md' is not null
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
        when exists (select from expired) and jsonb_typeof(job.payload) = 'object'
        then jsonb_set(job.payload, '{expiries}', to_jsonb(case
            when jsonb_typeof(job.payload -> 'expiries') = 'number'
            then least(greatest((job.payload ->> 'expiries')::numeric, 0), 1000)::int + 1
            else 1 end))
        else job.payload
    end
where job.id = coalesce((select id from expired), (select id from queued))
returning job.id, job.submission_id, job.lease_key, job.payload, job.retry_count,
    '-infinity' as visible_at,
    (extract(epoch from clock_timestamp()) - extract(epoch from job.created_at))::float8 as age_seconds,
    set_config('app.current_sub', job.payload ->> 'student_sub', true),
    set_config('app.leased_submission', job.submission_id::text, true)
