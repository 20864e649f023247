-- The only way for a worker to write submissions. All functions have their owner's rights. The search path is fixed and
-- every name is qualified, so that a caller cannot substitute a table.

-- The guard of the functions that write a result or a retry. Audited databases replace this function.
create or replace function public.learning_submission_accepts_result(p_status text) returns boolean
    language sql immutable
    as $$ select p_status in ('pending', 'extracted') $$;

create or replace function public.learning_worker_update_completed(
    p_submission_id uuid, p_text_body text, p_feedback_md text, p_analysis_json jsonb) returns void
    language sql security definer set search_path = pg_catalog, pg_temp
    as $$
        update public.learning_submissions
           set analysis_status = 'completed',
               completed_at = now(),
               text_body = p_text_body,
               feedback_md = p_feedback_md,
               analysis_json = p_analysis_json,
               vision_attempts = vision_attempts + 1,
               error_code = null,
               vision_last_error = null,
               feedback_last_error = null
         where id = p_submission_id
           and public.learning_submission_accepts_result(analysis_status)
    $$;

-- The platform has this overload, too: a call that does not cast its last argument is ambiguous.
create or replace function public.learning_worker_update_completed(
    p_submission_id uuid, p_text_body text, p_feedback_md text, p_analysis_json json) returns void
    language sql security definer set search_path = pg_catalog, pg_temp
    as $$
        select public.learning_worker_update_completed(
            p_submission_id, p_text_body, p_feedback_md, p_analysis_json::jsonb)
    $$;

create or replace function public.learning_worker_update_failed(
    p_submission_id uuid, p_error_code text, p_last_error text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            is_feedback constant boolean := p_error_code = 'feedback_failed';
            last_error constant text := left(p_last_error, 1024);
        begin
            if p_error_code is null or p_error_code not in (
                'vision_failed', 'feedback_failed', 'input_corrupt', 'input_unsupported', 'input_too_large') then
                raise exception 'unknown error code: %', p_error_code using errcode = 'invalid_parameter_value';
            end if;
            update public.learning_submissions
               set analysis_status = 'failed',
                   error_code = p_error_code,
                   analysis_json = null,
                   vision_last_error = case when is_feedback then vision_last_error else last_error end,
                   feedback_last_error = case when is_feedback then last_error else feedback_last_error end
             where id = p_submission_id
               and public.learning_submission_accepts_result(analysis_status);
        end
    $$;

-- The guard ignores a retry of a final submission. In an audited database only the caller's fence does that.
create or replace function public.learning_worker_mark_retry(
    p_submission_id uuid, p_phase text, p_message text, p_attempted_at timestamptz) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        begin
            case p_phase
            when 'vision' then
                update public.learning_submissions
                   set error_code = 'vision_retrying',
                       vision_attempts = vision_attempts + 1,
                       vision_last_error = left(p_message, 1024),
                       vision_last_attempt_at = p_attempted_at
                 where id = p_submission_id
                   and public.learning_submission_accepts_result(analysis_status);
            when 'feedback' then
                update public.learning_submissions
                   set error_code = 'feedback_retrying',
                       feedback_last_error = left(p_message, 1024),
                       feedback_last_attempt_at = p_attempted_at
                 where id = p_submission_id
                   and public.learning_submission_accepts_result(analysis_status);
            else
                raise exception 'unknown phase: %', p_phase using errcode = 'invalid_parameter_value';
            end case;
        end
    $$;

create or replace function public.learning_worker_health_probe()
    returns table (check_name text, status text, detail text)
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$
        select 'worker_role',
               case when exists (select from pg_roles where rolname = 'learning_worker') then 'ok' else 'missing' end,
               'learning_worker'
        union all
        select 'visible_jobs', 'ok', count(*)::text
          from public.learning_submission_jobs job
         where job.status = 'queued' and job.visible_at <= now()
    $$;
