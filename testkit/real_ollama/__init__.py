"""A real Ollama with tiny models: `scripts/real_ollama` builds it, the tests that need it look for it here."""
