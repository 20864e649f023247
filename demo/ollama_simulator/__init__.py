"""A server that answers like Ollama 0.32.15 without a model: same routes, shapes, errors, slots and load times, known words.

One request, from top to bottom:

    server       routes, start and end of the process          inventory    version, tags, ps, show
    completion   /api/chat and /api/generate, step by step      inspection   /_simulator: calls, state, faults
      request    a body becomes an Ask (body, keep_alive, options: Go's reading of JSON, with Go's error texts)
      exchange   a request and all that is known of it          dialect      what differs between chat and generate
      scheduler  one load after another, expiry                 runner       a loaded model: slots, first come first served
      answer     what the model says (ocr, schema, criteria)    token        its pieces
      speech     the answer on its way, at its speed            wire         headers and bodies (json_text, timestamp)
    call         what happened                                  catalogue    the models
    fault        what shall go wrong, and when                  mishap       what then becomes of a request
    process      starts the server as a child process, for tests, the demo and measurements

Shapes and texts come from recorded answers of a real server (tests/ollama/recordings).
"""
