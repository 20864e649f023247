-- Deletes the job of a submission that was completed or failed before. Primary key.
delete from public.learning_submission_jobs
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
