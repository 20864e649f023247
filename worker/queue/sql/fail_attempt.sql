-- Ends the practice attempt of a failed submission, so that the pupil can answer again. By primary key and the attempt's submission.
select public.learning_worker_fail_practice_attempt(%(submission_id)s::uuid, %(error_code)s::text)
