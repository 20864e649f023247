-- Lists all leases, to find those of dead instances. Index (status, visible_at): there are only as many rows as workers.
select id, lease_key from public.learning_submission_jobs where status = 'leased' and lease_key is not null
