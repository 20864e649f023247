"""A model as Ollama lists it, its name, and whether it runs on another company's servers."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Bytes = Annotated[int, Field(ge=0, le=2**60)]


class ListedModel(BaseModel):
    """An entry of /api/tags (installed models) or /api/ps (loaded models, with the last two fields).

    `size` is the size of the files, or the memory of the loaded model by Ollama's own count (docs/ollama-api.md 3.1).
    `size_vram` is the part of it on a GPU. `context_length` is the window of one slot in tokens, 0 if not reported.
    """

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9_.:/-]+$")]  # Ollama allows no other character
    digest: Annotated[str, Field(max_length=200)] = ""
    size: Bytes
    size_vram: Bytes = 0
    context_length: Annotated[int, Field(ge=0, le=2**40)] = 0
    remote_host: str = ""
    remote_model: str = ""

    @property
    def runs_elsewhere(self) -> bool:
        """True for an entry that only passes its requests on."""
        return bool(self.remote_host or self.remote_model)


def _valid_entries(value: object) -> object:
    """Skip entries that are not valid, because one odd entry must not hide the other models.

    A list without any valid entry is returned as it is, so that its validation fails: it is not a list of Ollama.
    """
    if not isinstance(value, list):
        return value
    return [found for found in map(_valid_entry, value) if found is not None] or value


def _valid_entry(entry: object) -> ListedModel | None:
    try:
        return ListedModel.model_validate(entry)
    except ValidationError:
        return None


class ListedModels(BaseModel):
    """A reply to /api/tags or /api/ps."""

    model_config = ConfigDict(frozen=True)

    models: Annotated[tuple[ListedModel, ...], Field(max_length=6000), BeforeValidator(_valid_entries)]

    def find(self, model: str) -> ListedModel | None:
        """The entry of a model by its name in the settings; None if it is not listed."""
        return next((each for each in self.models if is_called(each.name, model)), None)


def is_cloud_name(model: str) -> bool:
    """True for Ollama's names of models in its cloud: `gpt-oss:120b-cloud`, `glm-4.6:cloud`. Ollama ignores their case."""
    tag = model.rpartition("/")[2].partition(":")[2].lower()
    return tag == "cloud" or tag.endswith("-cloud")


def listed_name(model: str) -> str:
    """The name as it stands in Ollama's lists."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def is_called(listed: str, model: str) -> bool:
    """Compare a listed name with a name in the settings."""
    return model in {listed, listed.removesuffix(":latest")}
