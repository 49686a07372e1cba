"""Real servers on loopback, for what the hub sends out.

with SmtpSink() as mail, WebhookReceiver() as hook:
    ...  # mail.address is "127.0.0.1:port", hook.url is "http://127.0.0.1:port/hook"
    mail.messages, hook.requests
"""

import asyncio
import email
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default as email_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


def wait_for(found: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true answer of `found`; an AssertionError if there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := found():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"nothing came within {seconds} seconds")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SmtpSink:
    """An SMTP server that keeps what it is sent in `messages`.

    `replies` answers recipients: `SmtpSink(replies={"gone@example.com": "550 no such user"})`. What is kept is answered
    after `delay` seconds or, while `resets` is on, by a reset connection. Whoever logs in is refused.
    """

    def __init__(self, replies: dict[str, str] | None = None):
        self.messages: list[EmailMessage] = []
        self.replies = replies or {}
        self.delay, self.resets = 0.0, False
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def mailers(self) -> dict:
        """For the setting `MAILERS`."""
        options = {"host": "127.0.0.1", "port": self.port, "timeout": 5}
        return {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}}

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(email.message_from_bytes(envelope.content, policy=email_policy))
        await asyncio.sleep(self.delay)
        if self.resets:
            server.transport.abort()
        return "250 Message accepted"

    def __enter__(self):
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            auth_require_tls=False,
            authenticator=lambda *_: AuthResult(success=False, handled=False),
        )
        self._controller.start()
        return self

    def __exit__(self, *_):
        self._controller.stop()


@dataclass(frozen=True)
class ReceivedRequest:
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WebhookReceiver:
    """An HTTP server that keeps what is posted to it in `requests`.

    It answers `status`, with `headers` and `body`, after `delay` seconds; all may be changed while it runs.
    `statuses` go first, one for each request; while `resets` is on, connections are reset without an answer.
    """

    def __init__(self, status: int = 204, headers: dict | None = None, body: bytes = b"", delay: float = 0):
        self.requests: list[ReceivedRequest] = []
        self.status, self.headers, self.body, self.delay = status, headers or {}, body, delay
        self.statuses: Iterator[int] = iter(())
        self.resets = False
        self.on_answer: Callable[[], None] = lambda: None
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/hook"

    def __enter__(self):
        self._thread.start()
        return self

    def answering(self, by: int) -> None:
        with self._lock:
            self._at_once += by
            self.most_at_once = max(self.most_at_once, self._at_once)

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # all that the hub sends at once

    def handle_error(self, request, client_address):
        pass  # the hub went away, or we reset the connection


def _handler_for(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(ReceivedRequest(self.path, headers, body))
            if receiver.resets:
                # Closing with no time to linger sends a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            receiver.answering(1)
            time.sleep(receiver.delay)
            receiver.on_answer()
            receiver.answering(-1)
            self._answer()

        do_GET = do_POST

        def _answer(self):
            try:
                self.send_response(next(receiver.statuses, receiver.status))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.body)
            except OSError:
                pass  # the hub waited no longer

        def log_message(self, *_):
            pass

    return Handler
