-- The three functions for practice attempts. The rules between them are the platform's application code.

-- Returns a row for a pending attempt only, and locks attempt, item and state until the end of the transaction.
create or replace function public.learning_worker_get_practice_attempt_context(p_submission_id uuid)
    returns table (
        attempt_id uuid, criteria text[], presentation_number integer, solution_seen boolean, support_pending boolean,
        previous_stability_days double precision, previous_interval_seconds bigint, previous_due_at timestamptz,
        previous_last_attempt_at timestamptz, previous_review_count integer, previous_scheduler_version text,
        completed_at timestamptz)
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    as $$
        with attempt as (
            select * from public.practice_attempts a where a.submission_id = p_submission_id and a.status = 'pending' for update
        ), item as (
            select i.* from public.practice_session_items i where i.id = (select item_id from attempt) for update
        ), submission as (
            select s.student_sub, s.task_id from public.learning_submissions s where s.id = (select submission_id from attempt)
        ), state as (
            select p.* from public.practice_states p
             where (p.student_sub, p.task_id) = (select s.student_sub, s.task_id from submission s) for update
        )
        select attempt.id, attempt.criteria, item.presentation_number, item.solution_seen, coalesce(state.support_pending, false),
            state.stability_days, state.interval_seconds, state.due_at, state.last_attempt_at, state.review_count,
            state.scheduler_version, clock_timestamp()
          from attempt cross join item left join state on true
    $$;

create or replace function public.learning_worker_complete_practice_attempt(
    p_attempt_id uuid, p_fulfillment double precision, p_classification text, p_supported boolean,
    p_stability_days double precision, p_interval_seconds bigint, p_due_at timestamptz, p_completed_at timestamptz,
    p_feedback_md text) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            attempt public.practice_attempts;
        begin
            if (p_classification in ('secure', 'partial', 'insufficient') and p_fulfillment between 0 and 1
                and p_stability_days > 0 and p_interval_seconds > 0) is not true then
                raise exception 'invalid practice result' using errcode = 'invalid_parameter_value';
            end if;
            update public.practice_attempts
               set status = 'completed', fulfillment = p_fulfillment, classification = p_classification,
                   supported = p_supported, due_at = p_due_at, completed_at = p_completed_at, feedback_md = p_feedback_md
             where id = p_attempt_id and status = 'pending'
            returning * into attempt;
            if attempt.id is null then
                return false;
            end if;
            update public.practice_session_items set status = 'feedback'
             where id = attempt.item_id and status = 'awaiting_analysis';
            insert into public.practice_states as state (student_sub, task_id, stability_days, interval_seconds, due_at,
                last_attempt_at, review_count)
            select submission.student_sub, submission.task_id, p_stability_days, p_interval_seconds, p_due_at, p_completed_at, 1
              from public.learning_submissions submission where submission.id = attempt.submission_id
            on conflict (student_sub, task_id) do update
               set stability_days = excluded.stability_days, interval_seconds = excluded.interval_seconds,
                   due_at = excluded.due_at, last_attempt_at = excluded.last_attempt_at,
                   review_count = state.review_count + 1, support_pending = false;
            return true;
        end
    $$;

-- The pupil can answer again after it.
create or replace function public.learning_worker_fail_practice_attempt(p_submission_id uuid, p_error_code text) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
        declare
            failed_item uuid;
        begin
            update public.practice_attempts set status = 'failed', error_code = left(p_error_code, 100)
             where submission_id = p_submission_id and status = 'pending'
            returning item_id into failed_item;
            update public.practice_session_items set status = 'active'
             where id = failed_item and status = 'awaiting_analysis';
            return failed_item is not null;
        end
    $$;
