"""Ollama's HTTP API: what is sent, what may come back, and how long each wait may last.

api.py            endpoints with the shape and the largest size of their replies
models.py         a model as Ollama lists it, and its name
client.py         the client of the workers, `check` and `doctor`: single requests, and chats as a stream
transport.py      HTTP whose every wait ends with a deadline
deadline.py       the time left of one request: to its first token, to its next one, to its end
stream.py         one answer, assembled line by line
repetition.py     detects a model that repeats itself without end
window.py         does a prompt fit into the context window?
token_budget.py   tokens of a page, of a text and of the answers, and the window that they need
thinking.py       models that think even if asked not to
vision_family.py  vision models that can only read, and the prompt that each needs
errors.py         the ways in which a request fails; error_status.py maps HTTP statuses to them
call_report.py    the figures of one finished call; usage.py has its tokens, as the platform records them
address.py        one name for one server, on every host and in every container
"""
