"""Everything timed: each benchmark compares two things in one run and reports their ratio. Run by scripts/bench."""
