"""What a model is called: in the settings, where `:latest` may be left out, and in Ollama's lists, where it is not."""


def listed_name(model: str) -> str:
    """As Ollama lists it."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def is_called(listed: str, model: str) -> bool:
    """Whether the settings' name is that of a listed model."""
    return model in {listed, listed.removesuffix(":latest")}
