-- Records the tokens that the answers for a job have cost, in the transaction of the write that follows. Primary key.
-- The lock keeps the lease until that write. The function ignores an event that it has recorded before.
-- The job's student is the subject until the transaction ends, as when the platform's own worker calls the function.
with job as (
    select submission_id, set_config('app.current_sub', payload ->> 'student_sub', true) as subject
    from public.learning_submission_jobs
    where id = %(job_id)s and lease_key = %(lease_key)s
    for update
)
select count(public.learning_worker_record_ai_usage(
    job.submission_id, event.event_key, event.model, event.stage, event.modality, event.call_kind, event.usage_known,
    event.input_tokens, event.output_tokens, event.total_tokens, event.unknown_reason))
from job
cross join jsonb_to_recordset(%(usage)s::jsonb) as event (
    event_key uuid, model text, stage text, modality text, call_kind text, usage_known boolean,
    input_tokens integer, output_tokens integer, total_tokens integer, unknown_reason text)
