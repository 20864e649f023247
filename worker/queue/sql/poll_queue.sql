-- Is a job waiting, and in how many seconds is the next one due? Index (status, visible_at), four short walks;
-- now() and not clock_timestamp(), as a volatile function cannot bound an index walk; min() and not exists(), for which
-- the planner would rather read a table from its start, however many failed rows lie there. One instant parts what waits from
-- what is due, so that nothing falls between, and what nobody has taken yet does not hide what is due after it. A job parked at
-- infinity is never due (and PostgreSQL before 17 cannot subtract it).
select
    (select min(visible_at) from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now()) is not null
        or exists (select from public.learning_submission_jobs
            where status = 'leased' and leased_until <= now()) as is_waiting,
    extract(epoch from least(
        (select min(visible_at) from public.learning_submission_jobs
            where status = 'queued' and visible_at > now() and visible_at < 'infinity'),
        (select min(leased_until) from public.learning_submission_jobs
            where status = 'leased' and leased_until > now() and isfinite(leased_until))
    ) - now())::float8 as due_in_seconds
