"""Rollouts from vLLM servers in processes of their own.

A server is vLLM's own `vllm serve` with our middleware and our weight transfer (`launch.py`). A
stage starts its servers itself (`process.py`) or is given addresses, and asks all of them through
one engine (`pool.py`).

Importing this package loads neither torch nor vllm."""

SECRET = "UPHILL_SERVER_SECRET"
"""Environment variable of a server that holds its secret."""
STARTER = "UPHILL_SERVER_STARTER"
"""Environment variable of a server and of the processes that it starts: the process id of the one
that started it."""
RUN, PUBLISH, ABOUT = "/uphill/run", "/uphill/publish", "/uphill/about"
"""Paths of the middleware: samples and scores, new weights, what is served."""
PRIVATE = "UPHILL_SERVER_PRIVATE"
"""Environment variable of a server: its folder for temporary files. The sockets of its processes
are in it while the server starts."""
