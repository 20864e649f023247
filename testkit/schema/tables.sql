-- Submissions and the queue of their analysis, equal to the platform's tables. Needs PostgreSQL 15 or later.

create table if not exists public.learning_submissions (
    id                       uuid primary key default gen_random_uuid(),
    course_id                uuid not null,
    task_id                  uuid not null,
    student_sub              text not null,
    kind                     text not null,
    text_body                text,
    storage_key              text,
    mime_type                text,
    size_bytes               integer,
    sha256                   text,
    attempt_nr               integer not null,
    analysis_status          text not null default 'pending',
    analysis_json            jsonb,
    feedback_md              text,
    completed_at             timestamptz,
    error_code               text,
    vision_attempts          integer not null default 0,
    vision_last_error        text,
    vision_last_attempt_at   timestamptz,
    feedback_last_error      text,
    feedback_last_attempt_at timestamptz,
    internal_metadata        jsonb not null default '{}',
    idempotency_key          text,
    created_at               timestamptz not null default now(),

    constraint one_row_per_attempt unique (course_id, task_id, student_sub, attempt_nr),
    constraint known_kind check (kind in ('text', 'image', 'file')),
    constraint known_analysis_status check (analysis_status in ('pending', 'extracted', 'completed', 'failed')),
    constraint known_error_code check (error_code in (
        'vision_retrying', 'vision_failed', 'feedback_retrying', 'feedback_failed',
        'input_corrupt', 'input_unsupported', 'input_too_large')),
    constraint size_within_upload_limit check (size_bytes between 1 and 10485760),
    constraint sha256_is_lower_case_hex check (sha256 ~ '^[0-9a-f]{64}$'),
    constraint content_matches_kind check (case kind
        when 'text' then text_body is not null and num_nonnulls(storage_key, mime_type, size_bytes, sha256) = 0
        when 'image' then num_nulls(storage_key, mime_type, size_bytes, sha256) = 0
                      and mime_type in ('image/jpeg', 'image/png')
        when 'file' then num_nulls(storage_key, mime_type, size_bytes, sha256) = 0
                     and mime_type = 'application/pdf'
    end)
);

create table if not exists public.learning_submission_jobs (
    id            uuid primary key default gen_random_uuid(),
    submission_id uuid not null references public.learning_submissions (id) on delete cascade,
    payload       jsonb not null,
    status        text not null default 'queued',
    retry_count   integer not null default 0,
    visible_at    timestamptz not null default now(),
    lease_key     uuid,
    leased_until  timestamptz,
    error_code    text,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),

    constraint known_status check (status in ('queued', 'leased', 'failed'))
);

create index if not exists learning_submission_jobs_by_visibility
    on public.learning_submission_jobs (status, visible_at);

-- Distinguishes these tables from the platform's, which must never be altered (see testkit/database.py).
comment on table public.learning_submission_jobs is 'learning-supervisor standalone schema';
