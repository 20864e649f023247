"""The gates of the two steps. An open gate lets a step call its model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gates:
    """State of each gate. A job waits only at the gate of its next step that needs a model."""

    vision: bool = True
    feedback: bool = True

    @property
    def are_all_open(self) -> bool:
        return self.vision and self.feedback

    @property
    def are_all_closed(self) -> bool:
        return not self.vision and not self.feedback


ALL_OPEN = Gates()
