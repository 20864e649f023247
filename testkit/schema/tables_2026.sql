-- Changes of 2026 to the tables of 2025-12, and the new tables that a worker's functions and reads need.

alter table public.learning_submissions
    add column if not exists intent text not null default 'submit',
    add column if not exists section_id uuid not null default gen_random_uuid(), -- the platform has no default
    add column if not exists score_raw integer,
    add column if not exists score_max integer,
    add column if not exists dialog_session_id uuid;

create unique index if not exists one_submission_per_dialog on public.learning_submissions (dialog_session_id);

alter table public.learning_submissions
    drop constraint if exists known_intent,
    drop constraint if exists known_kind,
    drop constraint if exists known_error_code,
    drop constraint if exists content_matches_kind,
    drop constraint if exists learning_submissions_dialog_kind,
    add constraint known_intent check (intent in ('feedback', 'submit')),
    add constraint known_kind check (kind in ('text', 'image', 'file', 'h5p', 'dialog')),
    add constraint known_error_code check (error_code in (
        'vision_retrying', 'vision_failed', 'feedback_retrying', 'feedback_failed', 'feedback_invalid_analysis',
        'input_corrupt', 'input_unsupported', 'input_too_large')),
    add constraint content_matches_kind check (case kind
        when 'text' then text_body is not null and num_nonnulls(storage_key, mime_type, size_bytes, sha256) = 0
        when 'image' then num_nulls(storage_key, mime_type, size_bytes, sha256) = 0
                      and mime_type in ('image/jpeg', 'image/png')
        when 'file' then num_nulls(storage_key, mime_type, size_bytes, sha256) = 0
                     and mime_type in ('application/pdf', 'application/x.scratch.sb3', 'application/x.makecode.hex',
                                       'application/x.filius.fls')
        else num_nonnulls(storage_key, mime_type, size_bytes, sha256) = 0
    end),
    add constraint learning_submissions_dialog_kind check (kind <> 'dialog' or (
        intent = 'submit' and dialog_session_id is not null and num_nonnulls(text_body, score_raw, score_max) = 0));

-- The task, of which a worker reads the context. Its criteria come with the job.
create table if not exists public.unit_tasks (
    id                 uuid primary key default gen_random_uuid(),
    unit_id            uuid not null default gen_random_uuid(),
    section_id         uuid not null,
    kind               text not null default 'native',
    instruction_md     text,
    criteria           text[] not null default '{}',
    teacher_context_md text,
    model_solution_md  text,

    constraint known_task_kind check (kind in ('native', 'h5p', 'visual', 'scratch', 'calliope', 'filius', 'dialog')),
    constraint few_criteria check (cardinality(criteria) <= 10)
);

create table if not exists public.courses (
    id     uuid primary key default gen_random_uuid(),
    status text not null default 'active'
);

create table if not exists public.course_memberships (
    course_id   uuid not null references public.courses (id) on delete cascade,
    student_sub text not null,
    ended_at    timestamptz,
    primary key (course_id, student_sub)
);

-- A section of a course's unit. One of a modular unit is not released by itself, but belongs to the course.
create table if not exists public.course_sections (
    course_id   uuid not null references public.courses (id) on delete cascade,
    section_id  uuid not null,
    is_released boolean not null default true,
    is_modular  boolean not null default false,
    primary key (course_id, section_id)
);

-- The task as it was when the work was handed in.
create table if not exists public.learning_submission_task_snapshots (
    submission_id  uuid primary key references public.learning_submissions (id) on delete cascade,
    task_id        uuid not null,
    instruction_md text,
    taken_at       timestamptz not null default now()
);

create table if not exists public.ai_usage_events (
    id             bigint primary key generated always as identity,
    event_key      uuid not null unique,
    submission_id  uuid not null references public.learning_submissions (id) on delete cascade,
    course_id      uuid not null,
    unit_id        uuid,
    task_id        uuid not null,
    student_sub    text not null,
    model          text not null,
    stage          text not null,
    modality       text not null,
    call_kind      text not null,
    usage_known    boolean not null,
    input_tokens   integer,
    output_tokens  integer,
    total_tokens   integer,
    unknown_reason text,
    created_at     timestamptz not null default now(),

    constraint named_model check (btrim(model) <> ''),
    constraint known_stage check (stage in ('ocr', 'analysis', 'feedback')),
    constraint known_modality check (modality in ('text', 'visual')),
    constraint known_call_kind check (call_kind in ('primary', 'repair', 'no_criteria')),
    constraint tokens_not_negative check (least(input_tokens, output_tokens, total_tokens) >= 0),
    constraint usage_is_known_or_not check (case when usage_known
        then num_nonnulls(input_tokens, output_tokens, total_tokens) > 0 and unknown_reason is null
        else num_nonnulls(input_tokens, output_tokens, total_tokens) = 0
             and unknown_reason is not distinct from 'missing_provider_usage'
    end)
);

-- What a pupil remembers of a task, and when it is practised again.
create table if not exists public.practice_states (
    student_sub       text not null,
    task_id           uuid not null,
    support_pending   boolean not null default false,
    stability_days    double precision,
    interval_seconds  bigint,
    due_at            timestamptz,
    last_attempt_at   timestamptz,
    review_count      integer not null default 0,
    scheduler_version text not null default 'gustav-practice-v1',
    primary key (student_sub, task_id)
);

-- One task of a practice session. A session has one item that is not in feedback, so a pupil waits for its analysis.
create table if not exists public.practice_session_items (
    id                  uuid primary key default gen_random_uuid(),
    session_id          uuid not null default gen_random_uuid(),
    status              text not null default 'awaiting_analysis',
    presentation_number integer not null default 1,
    solution_seen       boolean not null default false,

    constraint known_item_status check (status in ('active', 'awaiting_analysis', 'feedback'))
);

create table if not exists public.practice_attempts (
    id             uuid primary key default gen_random_uuid(),
    submission_id  uuid not null unique references public.learning_submissions (id) on delete cascade,
    item_id        uuid not null references public.practice_session_items (id),
    criteria       text[] not null default '{}',
    status         text not null default 'pending',
    error_code     text,
    fulfillment    double precision,
    classification text,
    supported      boolean,
    due_at         timestamptz,
    completed_at   timestamptz,
    feedback_md    text,

    constraint known_attempt_status check (status in ('pending', 'completed', 'failed'))
);
