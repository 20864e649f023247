"""The mode of /api/ps: correct, or one of the failures that the monitor must survive."""

from dataclasses import dataclass
from enum import StrEnum

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import JsonObject


class ListingMode(StrEnum):
    RIGHT = "right"
    SILENT = "silent"  # no byte until the client disconnects, as while the real server waits for a lock
    INVALID = "nonsense"  # 200 and no list
    ERROR = "error"  # 500


@dataclass(slots=True)
class Listing:
    """The mode does not affect the other routes."""

    mode: ListingMode = ListingMode.RIGHT

    def set(self, body: JsonObject) -> None:
        """Set the mode. Raises ApiError 400 for an unknown one."""
        try:
            self.mode = ListingMode(str(body.get("mode")))
        except ValueError as error:
            raise ApiError(400, f"mode must be one of {', '.join(ListingMode)}") from error
