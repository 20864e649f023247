-- Names what keeps an instance from a job, null if nothing does: an expression over `payload`, part of other statements. The words
-- are those of worker.ipc.contract.Obstacle. The needs of a job whose submission was read before are in the payload.
-- A mode without anything to work on, such as a dialog without a conversation, is another mode to the platform (`Needs.is_odd`).
-- `program_files` contains '' for all other files, because null <> all('{}') is true.
-- A statement takes a job with `case when {obstacle} is null then true else false end`. Without the case the planner expects one
-- job in two hundred to pass and may sort instead of walking the index.
case
    when %(skips_tests)s::boolean and payload ->> '_gustav_source' = 'pytest' then 'test'
    when %(test_run_id)s::text <> '' and payload ->> '_gustav_test_run_id' is distinct from %(test_run_id)s::text then 'test_run'
    when payload #>> '{needs,kind}' <> all(%(kinds)s::text[]) then 'kind'
    when coalesce(payload #>> '{needs,file_type}',
            case when payload ->> 'kind' = 'file' and payload ->> 'task_kind' in ('scratch', 'calliope', 'filius')
                then payload ->> 'task_kind' end, '') <> all(%(program_files)s::text[]) then 'file_type'
    when coalesce(nullif(lower(payload ->> 'analysis_mode'), ''), payload #>> '{needs,mode}',
            case when payload ->> 'task_kind' = 'dialog' then 'dialog' end) <> all(%(modes)s::text[])
        then case when coalesce(nullif(lower(payload ->> 'analysis_mode'), ''), payload #>> '{needs,mode}', 'dialog')
            in ('text_direct', 'ocr_text', 'visual_direct', 'dialog') then 'adapter' else 'mode' end
    when case coalesce(nullif(lower(payload ->> 'analysis_mode'), ''), payload #>> '{needs,mode}',
            case when payload ->> 'task_kind' = 'dialog' then 'dialog' end)
        when 'dialog' then jsonb_typeof(payload -> 'student_performance') is distinct from 'object'
            or payload #>> '{needs,kind}' = 'text'
        when 'visual_direct' then payload #>> '{needs,kind}' in ('text', 'dialog')
        else payload #>> '{needs,kind}' = 'dialog' end then 'mode'
    when not %(practice)s::boolean and payload ->> 'practice_attempt_id' <> '' then 'practice'
end
