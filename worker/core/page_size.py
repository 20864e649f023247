"""The largest picture of a page that a vision model gets."""

MAX_SIDE_PIXELS = 1600  # usual with Ollama: a larger side costs context and reads no better (docs/ollama-api.md 6.5)
