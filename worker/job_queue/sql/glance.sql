-- Is a job waiting, and in how many seconds is the next one due? Index (status, visible_at), three short walks;
-- now() and not clock_timestamp(), as a volatile function cannot bound an index walk.
select
    exists (select from public.learning_submission_jobs where status = 'queued' and visible_at <= now())
        or exists (select from public.learning_submission_jobs
            where status = 'leased' and leased_until <= clock_timestamp()) as is_waiting,
    extract(epoch from least(
        (select min(visible_at) from public.learning_submission_jobs
            where status = 'queued' and visible_at > now()),
        (select min(leased_until) from public.learning_submission_jobs where status = 'leased')
    ) - clock_timestamp())::float8 as due_in_seconds
