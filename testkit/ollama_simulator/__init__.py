"""A server that answers like Ollama 0.32.15 without a model.

Routes, JSON shapes, error texts, slots and load times are the same. The words of the answers are known in advance.

The modules, in the order in which a request passes them:

    server       routes, start and end of the process          models_api   version, tags, ps, show
    completion   /api/chat and /api/generate, step by step      test_api     /_simulator: calls, state, faults
      request    parses a body like Go, with Go's error texts (body, keep_alive, options)
      exchange   a request with its model and options            dialect      what differs between chat and generate
      scheduler  the queue for loads, eviction, expiry           runner       a loaded model with its slots
      window     cuts a prompt to the context                    answer       the answer's text (ocr, schema, criteria, token)
      streaming  sends the answer at the speed of its tokens    wire         headers and bodies (json_text, timestamp)
    host         the memory of the machine, its exhaustion      footprint    the memory of one runner, reported and true
    fault        kinds of faults, which request gets one        apply_fault  the effect of a fault on a request
    call         the log of requests for tests                  catalogue    the models (size)
    process      starts the server as a child process, for tests, the demo and measurements

Shapes and texts are those of a real server's recorded answers (tests/ollama/recordings).
"""
