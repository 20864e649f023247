"""The supervisor's own record, decide and loop in a simulated world: kernel, clock, workers, monitor, queue and operator.

`plan` draws what will happen from a seed, `world` lets it happen, `inspector` checks the invariants at each step, `trial`
runs a plan and shrinks one that fails, `table` shows what was reached. The clock jumps from event to event.
"""
