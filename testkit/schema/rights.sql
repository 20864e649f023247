-- The rights of a worker. Login roles are members of this group.

do $$
    begin
        create role learning_worker nologin;
        comment on role learning_worker is 'learning-supervisor standalone schema';
    exception when duplicate_object or unique_violation then
        null; -- roles belong to the whole server, another database has created it
    end
$$;

grant usage on schema public to learning_worker;

revoke all on public.learning_submissions, public.learning_submission_jobs from public, learning_worker;
grant select on public.learning_submissions to learning_worker;
grant select, update, delete on public.learning_submission_jobs to learning_worker;

-- An unset subject is null, and '' after the first transaction that has set it. No row is visible in both cases.
alter table public.learning_submissions enable row level security;
drop policy if exists learning_worker_reads_one_student on public.learning_submissions;
create policy learning_worker_reads_one_student on public.learning_submissions
    for select to learning_worker
    using (student_sub = nullif(current_setting('app.current_sub', true), ''));

revoke all on function
    public.learning_submission_accepts_result(text),
    public.learning_submissions_notify(),
    public.learning_worker_update_completed(uuid, text, text, jsonb),
    public.learning_worker_update_completed(uuid, text, text, json),
    public.learning_worker_update_failed(uuid, text, text),
    public.learning_worker_mark_retry(uuid, text, text, timestamptz),
    public.learning_worker_health_probe()
    from public;
grant execute on function
    public.learning_worker_update_completed(uuid, text, text, jsonb),
    public.learning_worker_update_completed(uuid, text, text, json),
    public.learning_worker_update_failed(uuid, text, text),
    public.learning_worker_mark_retry(uuid, text, text, timestamptz),
    public.learning_worker_health_probe()
    to learning_worker;
