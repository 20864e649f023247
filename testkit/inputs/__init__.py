"""Every kind of input and every answer of a model, run through a real queue with real supervisors (tests/system/test_inputs.py).

`catalogue` and `every_page` list the inputs. `files`, `written_pdf`, `answers` and `corruptions` make them. `run` runs them and
compares the results, and `report` prints them (scripts/inputs).
`leaks` searches logs, metrics and status for personal data.
"""
