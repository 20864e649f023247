"""`doctor`: can this Ollama do the work of these settings in time? It changes no setting and no job.

run.py                all checks in order, and the report that they make
model.py              an installed model: size of its weights and of its cache, from the description of its files
quantisation.py       bits per weight, and the name of a smaller version
memory_estimate.py    the memory that both models need, term by term, and the number of concurrent calls that fit
probe.py              a few small requests like those of the workers, with the server's own timings
known_page.py         the page of known words for the vision model, compared with its answer
sample.py             the submission sent to the feedback model
timeouts.py           the time of an ordinary answer, estimated from the probes, against the timeouts
environment.py        the lines for the Ollama service
findings.py           everything that is wrong, each with its remedy
memory_findings.py    the same for the memory estimate
view.py               the report as text
document.py           the report as JSON
"""
