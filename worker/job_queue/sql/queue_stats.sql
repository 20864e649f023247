-- How many rows there are of each status, counted to a bound. Index (status, visible_at).
select
    (select count(*) from (select from public.learning_submission_jobs
        where status = 'queued' limit %(bound)s) as some)::int as queued,
    (select count(*) from (select from public.learning_submission_jobs
        where status = 'leased' limit %(bound)s) as some)::int as leased,
    (select count(*) from (select from public.learning_submission_jobs
        where status = 'failed' limit %(bound)s) as some)::int as failed,
    (select extract(epoch from clock_timestamp() - min(visible_at))::float8 from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now()) as oldest_wait_seconds
