"""`doctor`: would Ollama, as it is, answer this configuration in time? Looks, tries, counts; changes no setting and no job.

server.py        asks the server
model.py         what a model file says of itself
quantisation.py  how many bits a weight has, and the smaller tag
memory_sum.py    what both models need together, term by term, and how many calls at once fit
picture.py       the page that the vision model is shown
sample.py        the invented submission
probe.py         a few small requests, as the workers send them, and how fast they were answered
pace.py          what that speed makes of the two timeouts
service.py       the lines for the Ollama service
examination.py   all of that, in order
verdict.py       what is wrong, and what to do
memory_verdict.py  the same of the memory
view.py          for a person
document.py      for a program
"""
