-- Leases this one job as lease_past_closed_gates.sql does, if it may be leased now. An error is therefore about this row. Primary key.
with chosen as (
    select id, status = 'leased' as is_expired
    from public.learning_submission_jobs
    where id = %(job_id)s and case when {obstacle} is null then true else false end
        and (status = 'queued' and visible_at <= now() or status = 'leased' and leased_until <= clock_timestamp())
        and case when payload ->> 'kind' in ('text', 'dialog') or payload ->> 'cached_text_md' is not null
            then %(feedback)s::boolean else %(vision)s::boolean end
    for update skip locked
), expired as (
    select id from chosen where is_expired
), queued as (
    select id from chosen where not is_expired
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
