-- Lists the jobs that a lease may choose, in its order, without the rows that were refused. Only after a lease was refused: its error
-- does not name the row. Changes nothing and reads no payload, which may be damaged. Index (status, visible_at), two bounded walks.
(select id from public.learning_submission_jobs
    where status = 'leased' and leased_until <= clock_timestamp() and id <> all(%(refused_job_ids)s::uuid[])
    order by visible_at limit 100)
union all
(select id from public.learning_submission_jobs
    where status = 'queued' and visible_at <= now() and id <> all(%(refused_job_ids)s::uuid[])
    order by visible_at limit 100)
