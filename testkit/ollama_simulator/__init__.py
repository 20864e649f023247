"""A server that answers like Ollama 0.32.15 without a model: same routes, shapes, errors, slots and load times, known words.

One request, from top to bottom:

    server       routes, start and end of the process          inventory    version, tags, ps, show
    completion   /api/chat and /api/generate, step by step      inspection   /_simulator: calls, state, faults
      request    a body becomes an Ask (body, keep_alive, options: Go's reading of JSON, with Go's error texts)
      exchange   a request and all that is known of it          dialect      what differs between chat and generate
      scheduler  the line for loads, eviction, expiry           runner       a loaded model: slots, first come first served
      window     what fits into the context                     answer       what the model says (ocr, schema, criteria, token)
      speech     the answer on its way, at its speed            wire         headers and bodies (json_text, timestamp)
    host         the memory of all, and its end                 footprint    the memory of one runner, shown and hidden
    fault        what shall go wrong, and when                  mishap       what then becomes of a request
    call         what happened                                  catalogue    the models (size)
    process      starts the server as a child process, for tests, the demo and measurements

Shapes and texts come from recorded answers of a real server (tests/ollama/recordings).
"""
