"""Jobs whose calls failed since the last answer of their model: several of them speak against the model."""

from uuid import uuid4

from supervisor.monitor.ollama.suspects import Suspects

ONE, OTHER = uuid4(), uuid4()


def suspects(**carried: int) -> Suspects:
    return Suspects({"reader": 0, "judge": 0, **carried})


def test_a_job_that_fails_again_is_one_suspect() -> None:
    """Each model has its own. No model has none."""
    seen = suspects()
    for job_id in (ONE, ONE, OTHER):
        seen.add("judge", job_id)
    assert (seen.count("judge"), seen.count("reader"), seen.count(None)) == (2, 0, 0)


def test_an_answer_clears_all_of_its_model() -> None:
    seen = suspects()
    seen.add("judge", ONE)
    seen.add("reader", OTHER)
    seen.answered("judge")
    assert (seen.count("judge"), seen.count("reader")) == (0, 1)


def test_a_job_that_has_ended_speaks_for_no_other() -> None:
    """Else the second of two jobs that each end the model's process would never fail."""
    seen = suspects()
    seen.add("judge", ONE)
    seen.add("judge", OTHER)
    seen.forget(ONE)
    assert seen.count("judge") == 1


def test_a_new_monitor_goes_on_with_the_numbers() -> None:
    """The jobs are not known any more, so only an answer ends them."""
    seen = suspects(judge=3)
    seen.add("judge", ONE)
    seen.forget(ONE)
    assert seen.count("judge") == 3
    seen.answered("judge")
    assert seen.count("judge") == 0
