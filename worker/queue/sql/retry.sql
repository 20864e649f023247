-- A transient error: visible again later, one attempt burnt. Primary key. mark_retry has no guard of its own: fenced here.
with queued as (
    update public.learning_submission_jobs
    set status = 'queued', retry_count = retry_count + 1, lease_key = null, leased_until = null,
        visible_at = clock_timestamp() + make_interval(secs => %(delay_seconds)s), error_code = %(error_class)s,
        updated_at = clock_timestamp()
    where id = %(job_id)s and lease_key = %(lease_key)s
    returning submission_id
)
select public.learning_worker_mark_retry(
    queued.submission_id, %(step)s::text, %(error_class)s::text, clock_timestamp())
from queued
