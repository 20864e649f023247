"""Adapters like the platform's own: another package, with settings, results and exceptions of its own.

As the platform's modules, they import nothing of the product, and the product runs them unmodified.
"""
