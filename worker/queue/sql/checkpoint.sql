-- Commits the OCR text into the payload before the feedback step starts, and renews the lease. The text replaces its pages.
-- As a page does, it gives the job's attempts back and ends the suspicion against it. Primary key.
update public.learning_submission_jobs
set payload = (payload - array['cached_pages', 'cached_pages_from', 'cached_page_grades', 'suspect']) || jsonb_build_object(
        'cached_text_md', %(text_md)s::text,
        'cached_raw_metadata', %(raw_metadata)s::jsonb,
        'cached_from', %(fingerprint)s::text),
    retry_count = 0,
    leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
    updated_at = clock_timestamp()
where id = %(job_id)s and lease_key = %(lease_key)s
returning id
