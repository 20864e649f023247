-- Notes in the job's row, which stays leased, that the database refuses every end of the job. Primary key. By the error code the next
-- worker only writes the end, because a row that accepts its lease may accept this too. The payload keeps evidence and answer.
update public.learning_submission_jobs
set payload = case when %(answer)s::jsonb is null or jsonb_typeof(payload) <> 'object' then payload
        else payload || jsonb_strip_nulls(jsonb_build_object('suspect', %(held_failure)s::jsonb))
            || jsonb_build_object('answer', %(answer)s::jsonb) end,
    error_code = %(job_error_code)s, updated_at = clock_timestamp()
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
