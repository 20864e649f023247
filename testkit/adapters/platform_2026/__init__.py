"""Adapters that behave like the platform's of 2026: they import nothing of the product.

`build()` reads nothing. Each call reads the environment, asks an OpenAI-compatible server up to three times without a time-out,
raises stable codes as messages, and adds its `usage_events` to results and exceptions. The server is testkit.provider.
"""
