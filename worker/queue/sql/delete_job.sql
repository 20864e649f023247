-- The submission was final already: only the job's row is left. Primary key.
delete from public.learning_submission_jobs
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
