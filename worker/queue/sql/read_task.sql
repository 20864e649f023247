-- Reads the task of a submission. Primary key. The worker fills in the columns that its role may read, and null for the others.
-- Row security shows the row to a student with access to its section: in any course, or for a modular unit in the current one.
select {instruction_md} as instruction_md, {teacher_context_md} as teacher_context_md, {model_solution_md} as model_solution_md
from public.unit_tasks
where id = %(task_id)s
