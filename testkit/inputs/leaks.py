"""Looks for what nobody may tell: words of pupils, prompts and answers, subjects, file names and keys."""

from testkit.inputs.answers import PRIVATE
from testkit.inputs.catalogue import CRITERIA, INSTRUCTION, MARK
from testkit.inputs.environment import InputEnvironment
from testkit.inputs.store import SERVICE_KEY

ERRORS = """
    select concat_ws(' ', submission.error_code, vision_last_error, feedback_last_error, job.error_code)
    from learning_submissions as submission left join learning_submission_jobs as job on job.submission_id = submission.id
"""
FILES = "select storage_key from learning_submissions where storage_key is not null"


def leaks(environment: InputEnvironment) -> list[str]:
    """Which sort of thing was told, in the log, the metrics, the status or an error's column."""
    told = "\n".join([environment.log.read_text(), *environment.said, *(row[0] for row in environment.owner.execute(ERRORS))])
    names = [row[0].rpartition("/")[2] for row in environment.owner.execute(FILES)]
    secrets = {
        "a pupil's text": [MARK],
        "an answer": [PRIVATE],
        "a pupil's subject": ["schueler-"],
        "a task": [INSTRUCTION, *CRITERIA],
        "a prompt": ["<abgabe>", "Kriterien:"],
        "a file's name": names,
        "the service key": [SERVICE_KEY],
    }
    return [sort for sort, words in secrets.items() if any(word in told for word in words)]
