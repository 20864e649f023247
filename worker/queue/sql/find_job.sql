-- Finds the job of a worker that died before the job's id was on the scoreboard. Index (status, visible_at), the leased rows.
select id from public.learning_submission_jobs where status = 'leased' and lease_key = %(lease_key)s
