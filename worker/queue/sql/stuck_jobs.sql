-- Lists rows that no worker can ever take, up to a bound. The longest lease takes hours, and the longest delay a day. Index (status, visible_at): there are only as many leased rows as workers,
-- and every other part reads rows that should not exist.
(select id, 'leased without an end' as fault from public.learning_submission_jobs
    where status = 'leased' and (leased_until is null or leased_until > now() + interval '7 days') limit %(bound)s)
union all
(select id, 'queued until infinity' from public.learning_submission_jobs
    where status = 'queued' and visible_at > now() + interval '1 year' limit %(bound)s)
union all
(select id, 'queued without a time' from public.learning_submission_jobs
    where status = 'queued' and visible_at is null limit %(bound)s)
union all
(select id, 'unknown status' from public.learning_submission_jobs where status is null limit %(bound)s)
union all
(select id, 'unknown status' from public.learning_submission_jobs where status < 'failed' limit %(bound)s)
union all
(select id, 'unknown status' from public.learning_submission_jobs where status > 'failed' and status < 'leased' limit %(bound)s)
union all
(select id, 'unknown status' from public.learning_submission_jobs where status > 'leased' and status < 'queued' limit %(bound)s)
union all
(select id, 'unknown status' from public.learning_submission_jobs where status > 'queued' limit %(bound)s)
