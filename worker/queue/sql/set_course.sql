-- Sets the course of the submission, beside its student. It ends with the transaction. No table is read.
select set_config('app.current_course_id', %(course_id)s::text, true)
