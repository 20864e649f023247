-- Rights of 2026. The second group may take jobs, as the login of the platform's web application may, but has none of the new
-- functions.

do $$
    begin
        create role learning_limited nologin;
        comment on role learning_limited is 'learning-supervisor standalone schema';
    exception when duplicate_object or unique_violation then
        null; -- roles belong to the whole server, another database has created it
    end
$$;

grant usage on schema public to learning_limited;
revoke all on public.unit_tasks, public.courses, public.course_memberships, public.course_sections, public.ai_usage_events,
    public.learning_submission_task_snapshots, public.practice_states, public.practice_session_items, public.practice_attempts
    from public, learning_worker, learning_limited;
grant select on public.learning_submissions, public.unit_tasks to learning_limited;
grant select, update, delete on public.learning_submission_jobs to learning_limited;
grant select on public.unit_tasks to learning_worker;

drop policy if exists learning_limited_reads_one_student on public.learning_submissions;
create policy learning_limited_reads_one_student on public.learning_submissions
    for select to learning_limited
    using (student_sub = nullif(current_setting('app.current_sub', true), ''));

alter table public.unit_tasks enable row level security;
drop policy if exists student_reads_tasks_of_open_sections on public.unit_tasks;
create policy student_reads_tasks_of_open_sections on public.unit_tasks
    for select to learning_worker, learning_limited
    using (public.student_can_access_section(nullif(current_setting('app.current_sub', true), ''), section_id));

revoke all on function
    public.student_can_access_section(text, uuid),
    public.learning_submission_takes_snapshot(),
    public.learning_worker_record_ai_usage(
        uuid, uuid, text, text, text, text, boolean, integer, integer, integer, text),
    public.learning_worker_get_practice_attempt_context(uuid),
    public.learning_worker_complete_practice_attempt(
        uuid, double precision, text, boolean, double precision, bigint, timestamptz, timestamptz, text),
    public.learning_worker_fail_practice_attempt(uuid, text)
    from public;
grant execute on function
    public.student_can_access_section(text, uuid),
    public.learning_worker_record_ai_usage(
        uuid, uuid, text, text, text, text, boolean, integer, integer, integer, text),
    public.learning_worker_get_practice_attempt_context(uuid),
    public.learning_worker_complete_practice_attempt(
        uuid, double precision, text, boolean, double precision, bigint, timestamptz, timestamptz, text),
    public.learning_worker_fail_practice_attempt(uuid, text)
    to learning_worker;
grant execute on function
    public.student_can_access_section(text, uuid),
    public.learning_worker_update_completed(uuid, text, text, jsonb),
    public.learning_worker_update_completed(uuid, text, text, json),
    public.learning_worker_update_failed(uuid, text, text),
    public.learning_worker_mark_retry(uuid, text, text, timestamptz),
    public.learning_worker_health_probe()
    to learning_limited;
