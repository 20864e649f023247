-- Gives the job back and burns no attempt; without a delay it keeps its place in the queue. Primary key.
update public.learning_submission_jobs
set status = 'queued', lease_key = null, leased_until = null, updated_at = clock_timestamp(),
    visible_at = case
        when %(delay_seconds)s::float8 > 0 then clock_timestamp() + make_interval(secs => %(delay_seconds)s::float8)
        else visible_at
    end
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
