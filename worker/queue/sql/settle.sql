-- The result and the end of the job in one statement: nothing or everything. Primary key.
with done as (
    delete from public.learning_submission_jobs
    where id = %(job_id)s and lease_key = %(lease_key)s
    returning submission_id
)
select public.learning_worker_update_completed(
    done.submission_id, %(text_md)s::text, %(feedback_md)s::text, %(analysis)s::jsonb)
from done
