-- Reports whether a job other than these can be leased now. Index (status, visible_at), walked past these jobs and no others.
-- min() and not exists(), as in poll_queue.sql.
select
    (select min(visible_at) from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now() and id <> all (%(job_ids)s::uuid[])) is not null
    or (select min(visible_at) from public.learning_submission_jobs
        where status = 'leased' and leased_until <= now() and id <> all (%(job_ids)s::uuid[])) is not null as is_waiting
