-- Reports whether a job other than these can be leased now. Index (status, visible_at), walked past these jobs and those with an
-- obstacle (obstacle.sql), which this instance cannot do.
-- min() and not exists(), as in poll_queue.sql.
select
    (select min(visible_at) from public.learning_submission_jobs
        where status = 'queued' and visible_at <= now()
            and case when id = any(%(job_ids)s::uuid[]) then false when {obstacle} is null then true else false end
        ) is not null
    or (select min(visible_at) from public.learning_submission_jobs
        where status = 'leased' and leased_until <= now()
            and case when id = any(%(job_ids)s::uuid[]) then false when {obstacle} is null then true else false end
        ) is not null as is_waiting
