-- Puts the job back into the queue without counting an attempt. It keeps its position. Primary key.
update public.learning_submission_jobs
set status = 'queued', lease_key = null, leased_until = null, updated_at = clock_timestamp()
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
