"""Every kind of input and every answer of a model, run through a real queue with real supervisors (tests/system/test_inputs.py).

`catalogue` lists the inputs. `files`, `answers` and `corruptions` make them. `run` runs them and compares the results.
`leaks` searches logs, metrics and status for personal data.
"""
