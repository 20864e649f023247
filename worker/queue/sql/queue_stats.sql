-- Counts the rows of each status up to a bound. Index (status, visible_at): because of `order by`, the count walks the index and
-- does not read the table. A job with an obstacle (obstacle.sql) is not the oldest: it does not wait for this instance.
select
    (select count(*) from (select from public.learning_submission_jobs
        where status = 'queued' order by visible_at limit %(bound)s) as counted)::int as queued,
    (select count(*) from (select from public.learning_submission_jobs
        where status = 'leased' order by visible_at limit %(bound)s) as counted)::int as leased,
    (select count(*) from (select from public.learning_submission_jobs
        where status = 'failed' order by visible_at limit %(bound)s) as counted)::int as failed,
    (select extract(epoch from clock_timestamp() - min(visible_at))::float8 from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now() and visible_at > '-infinity'
            and case when id = any(%(refused_job_ids)s::uuid[]) then true when {obstacle} is null then true else false end
        ) as oldest_wait_seconds
