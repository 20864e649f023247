-- Puts the job back into the queue after a failure that is the model's or the job's own, with a delay, and counts an attempt. The
-- evidence for it begins anew. Primary key. As on the platform the row has no error code, unless the database has refused a write:
-- that is a mark for the next worker and for `status`. The class of the failure is in the payload, for the next try, and its
-- code in the submission.
-- learning_worker_mark_retry may change a final submission, so it runs only for the holder of the lease.
with queued as (
    update public.learning_submission_jobs
    set status = 'queued', retry_count = greatest(retry_count, 0) + 1, lease_key = null, leased_until = null,
        visible_at = clock_timestamp() + make_interval(secs => %(delay_seconds)s), error_code = %(job_error_code)s::text,
        updated_at = clock_timestamp(),
        payload = case when jsonb_typeof(payload) = 'object'
            then (payload - 'suspect') || jsonb_build_object('last_error', %(error_class)s::text) else payload end
    where id = %(job_id)s and lease_key = %(lease_key)s
    returning submission_id
)
select public.learning_worker_mark_retry(
    queued.submission_id, %(step)s::text, %(last_error)s::text, clock_timestamp())
from queued
