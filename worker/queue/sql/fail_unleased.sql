-- Fails a job that cannot be leased, because the database refuses its row. Primary key. The conditions are the fence: the job is not
-- leased, or its lease has expired. No payload is read, because it may be damaged. Only a worker that cannot end practice attempts
-- reads it, where the platform has them: a failed job would leave its attempt open for ever.
with ended as (
    update public.learning_submission_jobs
    set status = 'failed', error_code = %(job_error_code)s, lease_key = null, leased_until = null,
        updated_at = clock_timestamp()
    where id = %(job_id)s
        and (status = 'queued' and visible_at <= now() or status = 'leased' and leased_until <= clock_timestamp())
        and case when %(ends_attempts)s::boolean
                or to_regprocedure('public.learning_worker_fail_practice_attempt(uuid,text)') is null then true
            else coalesce(payload ->> 'practice_attempt_id', '') = '' end
    returning submission_id
)
select submission_id::text,
    public.learning_worker_update_failed(ended.submission_id, 'vision_failed', %(last_error)s::text)::text
from ended
