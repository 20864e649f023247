"""The simulator's parts, as the handlers of requests see them."""

from dataclasses import dataclass

from aiohttp import web

from demo.ollama_simulator.call import CallLog
from demo.ollama_simulator.catalogue import Catalogue
from demo.ollama_simulator.fault import Faults
from demo.ollama_simulator.scheduler import Scheduler
from demo.ollama_simulator.settings import Settings


@dataclass(frozen=True, slots=True)
class Simulator:
    settings: Settings
    catalogue: Catalogue
    scheduler: Scheduler
    faults: Faults
    calls: CallLog


SIMULATOR = web.AppKey("simulator", Simulator)


def build(settings: Settings) -> Simulator:
    scheduler = Scheduler(settings.num_parallel, settings.load_seconds)
    return Simulator(settings, Catalogue(settings.models), scheduler, Faults(settings.fault_rate, settings.seed), CallLog())
