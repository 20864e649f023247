"""Stands for a package of the platform."""
