"""Feedback adapters with faults. The vision adapter of each is the stub."""
