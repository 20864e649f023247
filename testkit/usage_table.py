"""The table and the function by which the platform records tokens, for databases whose schema has none."""

from typing import Any, LiteralString

from testkit.filled_queue import FilledQueue
from worker.queue.connection import Connection

HAS_TABLE: LiteralString = "select to_regclass('public.ai_usage_events') is not null as it"
MAKE: LiteralString = """
    create table public.ai_usage_events (
        event_key uuid primary key,
        submission_id uuid not null,
        model text not null check (btrim(model) <> ''),
        stage text not null check (stage in ('ocr', 'analysis', 'feedback')),
        modality text not null check (modality in ('text', 'visual')),
        call_kind text not null check (call_kind in ('primary', 'repair', 'no_criteria')),
        usage_known boolean not null,
        input_tokens integer check (input_tokens >= 0),
        output_tokens integer check (output_tokens >= 0),
        total_tokens integer check (total_tokens >= 0),
        unknown_reason text,
        subject text,
        check (usage_known = (coalesce(input_tokens, output_tokens, total_tokens) is not null)),
        check (usage_known = (unknown_reason is null))
    );
    create function public.learning_worker_record_ai_usage(
        uuid, uuid, text, text, text, text, boolean, integer, integer, integer, text) returns void
        language plpgsql security definer set search_path = pg_catalog, pg_temp
        as $$
            begin
                if not exists (select from public.learning_submissions where id = $1) then
                    raise exception 'no such submission';
                end if;
                insert into public.ai_usage_events
                values ($2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, current_setting('app.current_sub', true))
                on conflict (event_key) do nothing;
            end
        $$;
    revoke execute on function public.learning_worker_record_ai_usage(
        uuid, uuid, text, text, text, text, boolean, integer, integer, integer, text) from public;
    grant execute on function public.learning_worker_record_ai_usage(
        uuid, uuid, text, text, text, text, boolean, integer, integer, integer, text) to learning_worker;
"""


def make_usage_table(owner: Connection) -> None:
    """Make the table if the schema has none, as that of 2025-12."""
    row = owner.execute(HAS_TABLE).fetchone()
    if row is not None and not row["it"]:
        owner.execute(MAKE)


def recorded(queue: FilledQueue) -> list[dict[str, Any]]:
    """Return the recorded events."""
    return [dict(row) for row in queue.owner.execute("select * from public.ai_usage_events order by input_tokens")]
