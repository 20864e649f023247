"""One request to a model, with all that is known of it once its model has been found."""

import time
from dataclasses import dataclass

from aiohttp import web

from testkit.ollama_simulator.call import Call
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.dialect import Dialect
from testkit.ollama_simulator.fault import Fault
from testkit.ollama_simulator.options import Options
from testkit.ollama_simulator.request import Ask
from testkit.ollama_simulator.simulator import Simulator
from testkit.ollama_simulator.stopwatch import Stopwatch
from testkit.ollama_simulator.timestamp import utc_text


@dataclass(frozen=True, slots=True)
class Exchange:
    """`fault` is what has been ordered to go wrong with it."""

    http: web.Request
    simulator: Simulator
    dialect: Dialect
    call: Call
    ask: Ask
    model: Model
    options: Options
    fault: Fault | None
    watch: Stopwatch


def head(ask: Ask) -> dict[str, object]:
    """The beginning of every line; `model` is the name as it was asked for, without the tag that it was found under."""
    return {"model": ask.model, "created_at": utc_text(time.time_ns())}
