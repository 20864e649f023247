-- Fails the submission for good. The job's row stays, so that an administrator can examine it. Primary key.
-- Only the payload of a quarantined job is read, because any other may be damaged: see quarantined.sql.
with ended as (
    update public.learning_submission_jobs
    set status = 'failed', error_code = %(job_error_code)s, lease_key = null, leased_until = null,
        updated_at = clock_timestamp(),
        payload = case when %(job_error_code)s::text <> 'worker_crashed' or jsonb_typeof(payload) <> 'object' then payload
            else {quarantined} end
    where id = %(job_id)s and lease_key = %(lease_key)s
    returning submission_id
)
select public.learning_worker_update_failed(ended.submission_id, %(error_code)s::text, %(last_error)s::text)
from ended
