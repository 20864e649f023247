-- The job of a worker that died before it knew which one it had leased. Index (status, visible_at): the leased rows alone.
select id from public.learning_submission_jobs where status = 'leased' and lease_key = %(lease_key)s
