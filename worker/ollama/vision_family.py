"""Families of vision models that need a prompt of their own to read a page. docs/prompts.md gives the reason for each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VisionFamily:
    """`prompt` replaces the sentences of worker.adapters.prompts if it is not empty. An answer ends before a word of `stop`."""

    prompt: str = ""
    stop: tuple[str, ...] = ()


ANY = VisionFamily()
# Each was trained on this prompt alone, and describes, repeats or returns nothing for another one.
FAMILIES = {
    "glm-ocr": VisionFamily("Text Recognition:", ("<|user|>", "\n```")),
    "deepseek-ocr": VisionFamily("Free OCR."),
    "paddleocr-vl": VisionFamily("OCR:"),
    "dots.ocr": VisionFamily("Extract the text content from this image."),
}


def family_of(model: str, prompt: str) -> VisionFamily:
    """The family named by AI_VISION_PROMPT, else by the model's name with or without namespace and tag."""
    name = model.rpartition("/")[2].lower() if prompt == "auto" else prompt
    return next((family for start, family in FAMILIES.items() if name.startswith(start)), ANY)
