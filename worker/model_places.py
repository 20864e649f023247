"""Rejects models that run outside of the house, when a worker starts."""

from contextlib import suppress

from worker.ollama.api import SHOW
from worker.ollama.client import Ollama
from worker.ollama.errors import REQUEST_FAILURES
from worker.settings import WorkerSettings

BOOT_LOOKUP_SECONDS = 1.0  # a healthy server describes a model in milliseconds, and a worker without a server starts too


class ModelRejected(Exception):
    """The settings name a model that runs elsewhere. The message has its name and the remedy."""


def reject_models_elsewhere(settings: WorkerSettings) -> None:
    """Ask for the description of each model of our adapters. Raises ModelRejected, which ends the fleet with EX_CONFIG.

    Without an answer the start goes on. The adapter asks again before the first chat and then sends nothing without an answer.
    """
    if settings.ai_send_pupils_work_to_cloud:
        return
    used = {
        "AI_VISION_MODEL": settings.ai_vision_model if settings.asks_ollama("vision") else "",
        "AI_FEEDBACK_MODEL": settings.ai_feedback_model if settings.asks_ollama("feedback") else "",
    }
    server = Ollama(settings.ollama_base_url)
    for variable, model in used.items():
        if model and _runs_elsewhere(server, model):
            remedy = f"set {variable} to a local model, or AI_SEND_PUPILS_WORK_TO_CLOUD to true"
            raise ModelRejected(f"model {model} runs outside of the house: {remedy}")


def _runs_elsewhere(server: Ollama, model: str) -> bool:
    with suppress(*REQUEST_FAILURES):
        return server.request(SHOW, {"model": model}, BOOT_LOOKUP_SECONDS).runs_elsewhere
    return False
