-- Puts a job aside whose end the database refuses, and calls no function. Primary key. It waits longer after each try, at most five
-- minutes. By its error code the next worker only writes the end.
update public.learning_submission_jobs
set status = 'queued', retry_count = least(greatest(retry_count, 0), 1000) + 1, lease_key = null, leased_until = null,
    visible_at = clock_timestamp() + make_interval(secs => least(300, 10 * 2 ^ least(greatest(retry_count, 0), 10))),
    error_code = %(job_error_code)s, updated_at = clock_timestamp()
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
