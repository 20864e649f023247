-- Lists the jobs that park.sql has put aside, and those that are tried again because many results were refused. Index (status, visible_at): they wait for at most five minutes, and with them the
-- retries of these minutes. Reads no payload.
select id, error_code
from (
    select id, error_code from public.learning_submission_jobs
    where status = 'queued' and visible_at > now() and visible_at < now() + interval '310 seconds'
    order by visible_at
    limit 1000
) as delayed
where error_code like 'database\______' or error_code like 'database\______\_all'
