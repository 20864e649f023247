"""The rules of admission against a simulated Ollama. One step is one sample, one decision and one move of each worker."""
