"""Search for personal data and secrets in everything that supervisors publish."""

from testkit.inputs.answers import PRIVATE
from testkit.inputs.catalogue import CRITERIA, INSTRUCTION, MARK
from testkit.inputs.environment import InputEnvironment
from testkit.object_store import SERVICE_KEY

ERRORS = """
    select concat_ws(' ', submission.error_code, vision_last_error, feedback_last_error, job.error_code) as text
    from learning_submissions as submission left join learning_submission_jobs as job on job.submission_id = submission.id
"""
FILES = "select storage_key from learning_submissions where storage_key is not null"


def leaks(environment: InputEnvironment) -> list[str]:
    """Return the kinds of data that were found in the log, the metrics, the status or an error's column."""
    errors = [row["text"] for row in environment.all(ERRORS)]
    published = "\n".join([environment.log.read_text(), *environment.published, *errors])
    secrets = {
        "a pupil's text": [MARK],
        "an answer": [PRIVATE],
        "a pupil's subject": ["schueler-"],
        "a task": [INSTRUCTION, *CRITERIA],
        "a prompt": ["<abgabe>", "Kriterien:"],
        "a file's name": [row["storage_key"].rpartition("/")[2] for row in environment.all(FILES)],
        "the service key": [SERVICE_KEY],
    }
    return [kind for kind, words in secrets.items() if any(word in published for word in words)]
