"""Admission's rules against a simulated Ollama. A step is one look, one decision, one move of each worker."""
