"""What a server of this kind takes at least: a starlette route that parses a body and answers one.

`python -m benchmarks.bare_route FILE` answers POST /v2/orders with what FILE holds, on any free
port, which it prints.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def main() -> None:
    answer = json.loads(Path(sys.argv[1]).read_bytes())

    async def submit(request: Request) -> JSONResponse:
        body = await request.json()
        assert body["symbol"]
        return JSONResponse(answer)

    app = Starlette(routes=[Route("/v2/orders", submit, methods=["POST"])])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, http="httptools", lifespan="off", log_config=None, access_log=False
    )
    uvloop.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
