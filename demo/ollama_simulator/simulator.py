"""The simulator's parts, as the handlers of requests see them."""

import random
from dataclasses import dataclass

from aiohttp import web

from demo.ollama_simulator.call import CallLog
from demo.ollama_simulator.catalogue import Catalogue
from demo.ollama_simulator.fault import Faults
from demo.ollama_simulator.host import Host
from demo.ollama_simulator.scheduler import Scheduler
from demo.ollama_simulator.settings import Settings


@dataclass(frozen=True, slots=True)
class Simulator:
    settings: Settings
    catalogue: Catalogue
    host: Host
    scheduler: Scheduler
    chance: random.Random
    faults: Faults
    calls: CallLog


SIMULATOR = web.AppKey("simulator", Simulator)


def build(settings: Settings) -> Simulator:
    host = Host(settings.memory_bytes, settings.memory_return_seconds)
    chance, faults = random.Random(settings.seed), Faults(settings.fault_rate, settings.seed)
    return Simulator(settings, Catalogue(settings.models), host, Scheduler(settings, host), chance, faults, CallLog())
