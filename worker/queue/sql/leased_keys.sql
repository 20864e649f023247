-- All leases there are, to find those of dead instances. Index (status, visible_at): as many rows as there are workers.
select id, lease_key from public.learning_submission_jobs where status = 'leased' and lease_key is not null
