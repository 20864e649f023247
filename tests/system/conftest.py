"""The same site as for the tests of single faults."""

from tests.process.conftest import fleets_simulator, site

__all__ = ["fleets_simulator", "site"]
