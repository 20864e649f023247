"""Which steps may call their models now."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gates:
    """Whether each step's gate is open. A job comes to the gate of its next step that needs a model, and to no other."""

    vision: bool = True
    feedback: bool = True

    @property
    def are_all_open(self) -> bool:
        return self.vision and self.feedback

    @property
    def are_all_closed(self) -> bool:
        return not self.vision and not self.feedback


ALL_OPEN = Gates()
