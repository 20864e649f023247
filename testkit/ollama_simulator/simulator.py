"""The parts of the simulator that request handlers use."""

import random
from dataclasses import dataclass

from aiohttp import web

from testkit.ollama_simulator.call import CallLog
from testkit.ollama_simulator.catalogue import Catalogue
from testkit.ollama_simulator.fault import Faults
from testkit.ollama_simulator.host import Host
from testkit.ollama_simulator.listing import Listing
from testkit.ollama_simulator.options import read_options
from testkit.ollama_simulator.runner import Runner
from testkit.ollama_simulator.scheduler import Scheduler
from testkit.ollama_simulator.settings import Settings


@dataclass(frozen=True, slots=True)
class Simulator:
    settings: Settings
    catalogue: Catalogue
    host: Host
    scheduler: Scheduler
    chance: random.Random
    faults: Faults
    calls: CallLog
    listing: Listing


SIMULATOR = web.AppKey("simulator", Simulator)


def never_fitting(settings: Settings) -> dict[str, int]:
    """Return the models that are too large for the memory even alone, with their sizes in bytes."""
    models = Catalogue(settings.models).models.values()
    loads = {model.name: Runner(model, read_options({}).of(model, may_shift=True).load, settings) for model in models}
    needed = {name: runner.true_bytes for name, runner in loads.items()}
    return {name: size for name, size in needed.items() if settings.memory_bytes is not None and size > settings.memory_bytes}


def build(settings: Settings) -> Simulator:
    host = Host(settings.memory_bytes, settings.memory_return_seconds)
    chance, faults = random.Random(settings.seed), Faults(settings.fault_rate, settings.seed)
    scheduler = Scheduler(settings, host)
    return Simulator(settings, Catalogue(settings.models), host, scheduler, chance, faults, CallLog(), Listing())
