"""Every kind of input and every answer a model can give, through a real queue: what becomes of each, and of all others.

`catalogue` lists them, `files`, `answers` and `corruptions` make them, `trial` runs them with real supervisors, `store` is an
object store that misbehaves, `memory` watches the workers, `report` says what came of it.
"""
