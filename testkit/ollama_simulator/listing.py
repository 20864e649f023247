"""How /api/ps answers: as it should, or as one that a watch of it has to live with, until it is told otherwise."""

from dataclasses import dataclass
from enum import StrEnum

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import JsonObject


class ListingMode(StrEnum):
    RIGHT = "right"
    SILENT = "silent"  # no byte until the client leaves: the real one waits for a lock
    INVALID = "nonsense"  # 200 and no list
    ERROR = "error"  # 500


@dataclass(slots=True)
class Listing:
    """The rest of the server works, whatever the mode."""

    mode: ListingMode = ListingMode.RIGHT

    def order(self, body: JsonObject) -> None:
        """Raises ApiError 400 for a mode that there is not."""
        try:
            self.mode = ListingMode(str(body.get("mode")))
        except ValueError as error:
            raise ApiError(400, f"mode must be one of {', '.join(ListingMode)}") from error
