"""The pages that a vision model gets: the largest picture, and the version of the way in which pages are made of a file."""

MAX_SIDE_PIXELS = 1600  # usual with Ollama: a larger side costs context and reads no better (docs/ollama-api.md 6.5)
PAGES_VERSION = 2  # higher with each change of the number or the limits of pages. Page texts of another version are not used
