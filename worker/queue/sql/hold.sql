-- Puts a held job back into the queue without counting an attempt, with the class of the error, and with the evidence if there is
-- some: `memory` is the key `suspect` of the payload. Without a delay the job keeps its position. Primary key.
update public.learning_submission_jobs
set status = 'queued', lease_key = null, leased_until = null, updated_at = clock_timestamp(), error_code = %(error_class)s,
    payload = case when %(memory)s::jsonb is null or jsonb_typeof(payload) <> 'object' then payload
        else payload || jsonb_build_object('suspect', %(memory)s::jsonb) end,
    visible_at = case
        when %(delay_seconds)s::float8 > 0 then clock_timestamp() + make_interval(secs => %(delay_seconds)s::float8)
        else visible_at
    end
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
