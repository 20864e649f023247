-- Puts the job back into the queue without counting an attempt. Without a delay it keeps its position. Primary key.
update public.learning_submission_jobs
set status = 'queued', lease_key = null, leased_until = null, updated_at = clock_timestamp(),
    visible_at = case
        when %(delay_seconds)s::float8 > 0 then clock_timestamp() + make_interval(secs => %(delay_seconds)s::float8)
        else visible_at
    end
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
