"""One request to a model, after its model has been found."""

import time
from dataclasses import dataclass

from aiohttp import web

from testkit.ollama_simulator.call import Call
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.dialect import Dialect
from testkit.ollama_simulator.fault import Fault
from testkit.ollama_simulator.options import Options
from testkit.ollama_simulator.request import ParsedRequest
from testkit.ollama_simulator.simulator import Simulator
from testkit.ollama_simulator.stopwatch import Stopwatch
from testkit.ollama_simulator.timestamp import utc_text


@dataclass(frozen=True, slots=True)
class Exchange:
    """`fault` is the fault that was set for this request."""

    http: web.Request
    simulator: Simulator
    dialect: Dialect
    call: Call
    request: ParsedRequest
    model: Model
    options: Options
    fault: Fault | None
    watch: Stopwatch


def head(request: ParsedRequest) -> dict[str, object]:
    """Return the first fields of every line. `model` is the name in the request, without an added tag."""
    return {"model": request.model, "created_at": utc_text(time.time_ns())}
