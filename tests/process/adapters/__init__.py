"""Feedback adapters that no supervisor would wish for; the vision adapter beside them is the stub."""
