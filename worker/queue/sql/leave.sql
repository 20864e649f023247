-- Puts a job back that this instance cannot do. No attempt is counted and the job keeps its place. The payload keeps the needs that
-- only the submission shows, so that the next search passes the job over. Primary key.
update public.learning_submission_jobs
set status = 'queued', lease_key = null, leased_until = null, updated_at = clock_timestamp(),
    payload = case when jsonb_typeof(payload) = 'object'
        then payload || jsonb_build_object('needs', %(needs)s::jsonb) else payload end
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
