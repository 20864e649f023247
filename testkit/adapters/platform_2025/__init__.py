"""Adapters that behave like the platform's of 2025-12: they import nothing of the product.

They read the environment in `build()` and need `setup.configure` before it. They have no time-out, and the server's message is in
their errors.
"""
