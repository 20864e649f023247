-- Finds the job of a lease after a lost connection. No row: the lease was not committed. Index (status, visible_at), the leased
-- rows.
select id, submission_id, lease_key, payload, retry_count, error_code, visible_at::text,
    (extract(epoch from clock_timestamp()) - extract(epoch from created_at))::float8 as age_seconds
from public.learning_submission_jobs
where status = 'leased' and lease_key = %(lease_key)s
