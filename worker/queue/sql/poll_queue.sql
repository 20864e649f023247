-- Reports whether a job is waiting, and in how many seconds the next one is due. Index (status, visible_at), four short walks.
-- now() and not clock_timestamp(): a volatile function cannot limit an index walk. min() and not exists(): for exists() the
-- planner may read the table from its start, past any number of failed rows.
-- One instant separates waiting jobs from due jobs, so none is missed between, and a waiting job does not hide a later due one.
-- A job with an obstacle (obstacle.sql) does not wait for this instance. A refused row does, and its payload is not read.
-- A job whose time is infinity is never due. PostgreSQL before 17 cannot subtract infinity.
select
    (select min(visible_at) from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now()
            and case when id = any(%(refused_job_ids)s::uuid[]) then true when {obstacle} is null then true else false end
        ) is not null
        or exists (select from public.learning_submission_jobs
            where status = 'leased' and leased_until <= now()
                and case when id = any(%(refused_job_ids)s::uuid[]) then true when {obstacle} is null then true else false end
        ) as is_waiting,
    extract(epoch from least(
        (select min(visible_at) from public.learning_submission_jobs
            where status = 'queued' and visible_at > now() and visible_at < 'infinity'),
        (select min(leased_until) from public.learning_submission_jobs
            where status = 'leased' and leased_until > now() and isfinite(leased_until))
    ) - now())::float8 as due_in_seconds
