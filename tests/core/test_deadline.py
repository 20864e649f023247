"""The three bounds of one conversation. Time is an argument."""

from worker.ollama.deadline import Deadline, Missed

START = Deadline.starting(now_seconds=100.0, total_seconds=50.0, silence_seconds=20.0)


def test_the_first_token_has_four_fifths() -> None:
    """Before the first token its own bound counts, and is the one that is missed."""
    assert START.left_seconds(100.0) == 40.0
    assert START.left_seconds(141.0) == 0.0
    assert START.first_missed is Missed.FIRST_TOKEN


def test_each_token_restarts_the_token_timeout() -> None:
    """After a token the next one may take as long as the silence allows, counted from each token."""
    spoken = START.after_token(110.0)
    assert spoken.left_seconds(110.0) == 20.0
    assert spoken.first_missed is Missed.NEXT_TOKEN
    assert spoken.after_token(120.0).left_seconds(120.0) == 20.0


def test_no_token_moves_the_end() -> None:
    """Further tokens do not move the end of the whole."""
    late = START.after_token(149.0)
    assert late.left_seconds(149.0) == 1.0
    assert late.first_missed is Missed.END


def test_a_second_try_has_the_rest_of_the_time() -> None:
    """The second try has the end of the first, and its first token has four fifths of the rest."""
    again = START.after_token(110.0).next_try(120.0)
    assert (again.end_at_seconds, again.token_at_seconds) == (150.0, 144.0)
    assert again.first_missed is Missed.FIRST_TOKEN


def test_a_second_try_after_the_end_has_no_time() -> None:
    assert START.next_try(160.0).left_seconds(160.0) == 0.0


def test_a_shortened_deadline_is_never_later() -> None:
    """A query within a conversation ends by its own bound or the conversation's, the earlier one."""
    assert START.cut(110.0, 5.0).left_seconds(110.0) == 5.0
    assert START.cut(148.0, 5.0).left_seconds(148.0) == 2.0
    assert START.cut(110.0, 5.0).first_missed is Missed.END
