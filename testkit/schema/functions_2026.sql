-- Functions of 2026: another code of a failed submission, tokens of a model's answers, and the health probe's new rows.

create or replace function public.learning_worker_update_failed(
    p_submission_id uuid, p_error_code text, p_last_error text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            is_feedback constant boolean := p_error_code like 'feedback%';
            last_error constant text := left(p_last_error, 1024);
        begin
            if p_error_code is null or p_error_code not in (
                'vision_failed', 'feedback_failed', 'feedback_invalid_analysis',
                'input_corrupt', 'input_unsupported', 'input_too_large') then
                raise exception 'unknown error code: %', p_error_code using errcode = 'invalid_parameter_value';
            end if;
            update public.learning_submissions
               set analysis_status = 'failed',
                   error_code = p_error_code,
                   vision_last_error = case when is_feedback then vision_last_error else last_error end,
                   feedback_last_error = case when is_feedback then last_error else feedback_last_error end
             where id = p_submission_id
               and public.learning_submission_accepts_result(analysis_status);
        end
    $$;

-- Raises for a missing submission and for numbers that the table refuses, which undoes the caller's transaction.
create or replace function public.learning_worker_record_ai_usage(
    p_submission_id uuid, p_event_key uuid, p_model text, p_stage text, p_modality text, p_call_kind text,
    p_usage_known boolean, p_input_tokens integer, p_output_tokens integer, p_total_tokens integer, p_unknown_reason text)
    returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            if not exists (select from public.learning_submissions where id = p_submission_id) then
                raise exception 'no such submission' using errcode = 'no_data_found';
            end if;
            insert into public.ai_usage_events (event_key, submission_id, course_id, unit_id, task_id, student_sub, model,
                stage, modality, call_kind, usage_known, input_tokens, output_tokens, total_tokens, unknown_reason)
            select p_event_key, submission.id, submission.course_id, task.unit_id, submission.task_id, submission.student_sub,
                p_model, p_stage, p_modality, p_call_kind, p_usage_known, p_input_tokens, p_output_tokens, p_total_tokens,
                p_unknown_reason
              from public.learning_submissions submission
              left join public.unit_tasks task on task.id = submission.task_id
             where submission.id = p_submission_id
            on conflict (event_key) do nothing;
        end
    $$;

create or replace function public.learning_worker_health_probe()
    returns table (check_name text, status text, detail text)
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$
        select 'queue_visibility', 'ok', 'visible_jobs=' || count(*)
          from public.learning_submission_jobs job
         where job.status = 'queued' and job.visible_at <= now()
        union all
        select 'lifecycle_commands',
               case when pg_has_role(session_user, 'learning_worker', 'usage') then 'ok' else 'failed' end,
               session_user::text
    $$;

-- A section that is released in any of the student's courses, or one of a modular unit in the course of this work.
create or replace function public.student_can_access_section(p_student_sub text, p_section_id uuid) returns boolean
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$
        select exists (
            select from public.course_memberships membership
              join public.courses course on course.id = membership.course_id and course.status = 'active'
              join public.course_sections section on section.course_id = course.id and section.section_id = p_section_id
             where membership.student_sub = p_student_sub
               and membership.ended_at is null
               and (section.is_released or section.is_modular
                    and course.id::text = current_setting('app.current_course_id', true)))
    $$;

create or replace function public.learning_submission_takes_snapshot() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            insert into public.learning_submission_task_snapshots (submission_id, task_id, instruction_md)
            values (new.id, new.task_id, (select instruction_md from public.unit_tasks where id = new.task_id));
            return null;
        end
    $$;

create or replace trigger learning_submission_takes_snapshot
    after insert on public.learning_submissions
    for each row execute function public.learning_submission_takes_snapshot();
