"""What /api/ps says of the models in memory, as Ollama writes it: sizes in bytes, as it counts them itself (ollama.md 3.1)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Bytes = Annotated[int, Field(ge=0, le=2**60)]


class ListedModel(BaseModel):
    """`size_vram` is the part on a GPU; `context_length` is of one slot."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9_.:/-]+$")]  # as Ollama names models: it is logged and shown
    digest: Annotated[str, Field(max_length=200)] = ""
    size: Bytes
    size_vram: Bytes = 0
    context_length: Annotated[int, Field(ge=0, le=2**40)] = 0


class ListedModels(BaseModel):
    model_config = ConfigDict(frozen=True)

    models: Annotated[tuple[ListedModel, ...], Field(max_length=1000)]
