-- Puts a held job back into the queue without counting an attempt, with the class of the error. The payload keeps the evidence, if
-- there is some (under the key `suspect`), and an answer that could not be written. Without a delay the job keeps its position.
-- Primary key.
update public.learning_submission_jobs
set status = 'queued', lease_key = null, leased_until = null, updated_at = clock_timestamp(), error_code = %(error_class)s,
    payload = case when jsonb_typeof(payload) = 'object'
        then payload || jsonb_strip_nulls(jsonb_build_object('suspect', %(held_failure)s::jsonb)) || case
            when %(answer)s::jsonb is null then '{}' else jsonb_build_object('answer', %(answer)s::jsonb) end
        else payload end,
    visible_at = case
        when %(delay_seconds)s::float8 > 0 then clock_timestamp() + make_interval(secs => %(delay_seconds)s::float8)
        else visible_at
    end
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
