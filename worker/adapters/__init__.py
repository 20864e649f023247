"""The adapters, each with `build()`: modules that turn a submission into text, and text into feedback.

loading   imports the two adapters that the settings name, ours or the platform's
abilities the jobs that two adapters can do
needs     finds what an adapter of another package will need when it is called
vision    reads pages with a vision model in Ollama
feedback  writes feedback with a language model in Ollama
prompts   the texts for both
control_tokens  makes a chat format's tokens plain in the texts of pupils and teachers
stub      invents both results, for AI_BACKEND=stub
"""
