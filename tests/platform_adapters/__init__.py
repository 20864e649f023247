"""Stands in for the platform's own adapters: another package, with settings, results and exceptions of its own.

It imports nothing of ours, as the platform's modules do not, and is run as it is.
"""
