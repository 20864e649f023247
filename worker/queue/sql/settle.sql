-- Writes the result and deletes the job in one statement, so that both happen or neither. Primary key.
with done as (
    delete from public.learning_submission_jobs
    where id = %(job_id)s and lease_key = %(lease_key)s
    returning submission_id
)
select public.learning_worker_update_completed(
    done.submission_id, %(text_md)s::text, %(feedback_md)s::text, %(analysis)s::jsonb)
from done
