"""Starts the web server: `python -m iot_hub.web --host 127.0.0.1 --port 8000 --workers 1`."""

import signal
import sys
from argparse import ArgumentParser

import uvicorn
from uvicorn.supervisors import multiprocess

KEEP_ALIVE_SECONDS = 75
# What is under way at a stop has so long to be answered.
STOP_SECONDS = 5
# Of several processes one that does not stir for so long is replaced; a busy machine alone is no reason.
STIR_SECONDS = 30


class Worker(multiprocess.Process):
    """One of several. uvicorn asks each twice a second whether it stirs, and holds both ends of the pipe, so that an
    answer seems to be under way when the process has died over the question. With its end closed here the pipe ends
    with the process, which is replaced at once.
    """

    def start(self) -> None:
        super().start()
        self.child_conn.close()


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    multiprocess.Process = Worker
    # uvicorn repeats the signal when all is answered; that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    uvicorn.run(
        "iot_hub.asgi:application",
        # Ingest is taken by the protocol itself, ahead of the application.
        http="iot_hub.asgi:Edge",
        loop="uvloop",
        ws="none",
        lifespan="off",
        host=options.host,
        port=options.port,
        workers=options.workers,
        access_log=False,
        server_header=False,
        # Whoever proxies says so in the settings.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_worker_healthcheck=STIR_SECONDS,
    )


if __name__ == "__main__":
    main()
