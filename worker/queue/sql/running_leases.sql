-- Lists the workers of all instances that hold a lease which still runs, by the last eight digits of its key.
-- Index (status, visible_at): there are only as many leased rows as workers.
select right(lease_key::text, 8) as worker from public.learning_submission_jobs
where status = 'leased' and leased_until > clock_timestamp()
