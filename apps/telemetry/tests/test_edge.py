"""The fast edge over real connections: what clients and networks do to HTTP."""

import gzip
import json
import socket
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse
from threading import Thread

import pytest
import uvicorn

from apps.notifications.tests.receivers import wait_for
from apps.telemetry.ingest import edge
from apps.telemetry.models import Reading
from apps.telemetry.tests.conftest import at, close_connections_of_intake

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/telemetry/"


async def others(scope, receive, send):
    """What stands behind the edge: tells how it was asked."""
    told = f"{scope['method']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 299, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture
def port(ingesting):
    """Of a web server with the edge."""
    config = uvicorn.Config(
        others, http=edge.Edge, loop="uvloop", ws="none", lifespan="off", port=0, access_log=False, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
    edge._intake.cache_clear()
    close_connections_of_intake()


@pytest.fixture
def http(port):
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        yield connection


@pytest.fixture
def line(port):
    """A connection as it is."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        yield connection


@pytest.fixture
def send(http, key):
    """`send(content)` over one connection that is kept."""

    def post(content=b'{"metrics": {"vibration": 5.2}}', *, path=PATH, **options) -> tuple[int, dict, bytes]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Authorization": f"Token {key}"} | options.pop("headers", {})
        http.request("POST", path, body, headers, **options)
        answer = http.getresponse()
        return answer.status, dict(answer.headers), answer.read()

    return post


def head(key: str, *more: str, path: str = PATH, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: hub", f"Authorization: Token {key}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(key: str, content, *more: str, **options) -> bytes:
    body = json.dumps(content).encode()
    return head(key, f"Content-Length: {len(body)}", *more, **options) + body


def answer_on(line: socket.socket) -> tuple[int, bytes]:
    answer = HTTPResponse(line)
    answer.begin()
    return answer.status, answer.read()


def is_closed(line: socket.socket) -> bool:
    """Waits for it."""
    with suppress(ConnectionResetError):
        while line.recv(65536):
            pass
    return True


class TestRequests:
    def test_several_over_one_connection(self, send):
        answers = [send(at(n)) for n in range(3)]

        assert [status for status, _, _ in answers] == [201] * 3
        assert json.loads(answers[0][2])["accepted"] == 1
        assert "Date" in {name.title() for name in answers[0][1]}
        assert Reading.objects.count() == 3

    def test_large_ones_are_decoded_beside_the_loop(self, send):
        status, _, body = send([at(n / 100) for n in range(3000)])

        assert (status, json.loads(body)["accepted"]) == (201, 3000)

    def test_small_ones_are_answered_while_a_large_one_is_under_way(self, send, port, key):
        messages = json.dumps([at(n / 100) for n in range(20_000)]).encode()
        with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as other:
            other.sendall(head(key, f"Content-Length: {len(messages)}") + messages)
            assert [send(at(1000 + n))[0] for n in range(5)] == [201] * 5
            assert answer_on(other)[0] == 201
        assert Reading.objects.count() == 20_005

    def test_chunks_and_gzip(self, send):
        packed = gzip.compress(json.dumps([at(1), at(2)]).encode())
        parts = (packed[place : place + 7] for place in range(0, len(packed), 7))
        headers = {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}

        assert send_parts(send, parts, headers)[0] == 201

    def test_line_protocol_answers_without_a_body(self, send):
        assert send(b"vibration,device=VIB-SN-001 value=5.2", path="/api/v2/write")[0::2] == (204, b"")
        assert send()[0] == 201

    def test_key_in_the_query_where_the_first_influxdb_has_it(self, http, key):
        http.request("POST", f"/write?p={key}&precision=s", b"vibration,device=VIB-SN-001 value=5.2")
        assert http.getresponse().status == 204

    def test_everything_else_goes_on_to_django(self, http, send):
        assert send()[0] == 201
        for method, path in [("GET", PATH), ("POST", "/api/v1/devices/"), ("POST", PATH + "latest/")]:
            http.request(method, path)
            assert http.getresponse().read() == f"{method} {path}".encode()
        assert send(at(1))[0] == 201

    def test_refusals_say_what_to_do(self, send, ingesting, settings, monkeypatch):
        status, headers, _ = send(headers={"Authorization": "Token wrong"})
        assert (status, headers["WWW-Authenticate"]) == (401, "Token")
        assert send(b"[{")[0] == 400
        assert send(b"vibration value=1", path="/api/v2/write?precision=days")[0] == 400
        settings.TELEMETRY = settings.TELEMETRY | {"MAX_QUEUED_READINGS": 0}
        monkeypatch.setattr(ingesting.writer, "_queued", 1)
        status, headers, _ = send()
        assert (status, headers["Retry-After"]) == (503, "2")


def send_parts(send, parts, headers) -> tuple[int, dict, bytes]:
    return send(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n", headers=headers)


class TestConnections:
    def test_pipelined_requests_are_answered_in_order(self, line, key):
        line.sendall(b"".join(whole(key, at(n)) for n in range(3)) + b"GET /health/ HTTP/1.1\r\nHost: hub\r\n\r\n")
        with line.makefile("rb") as file:
            answers = [next_of(file) for _ in range(4)]

        assert answers[0][0] == 201
        # What comes before its turn is for Django, which takes it all the same.
        assert answers[1:] == [(299, f"POST {PATH}".encode())] * 2 + [(299, b"GET /health/")]

    def test_body_is_asked_for_where_the_client_waits_for_that(self, line, key):
        body = json.dumps(at(1)).encode()
        line.sendall(head(key, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert answer_on(line)[0] == 201

    @pytest.mark.parametrize(
        "ending", [{"version": "1.0"}, {"more": ["Connection: close"]}], ids=["HTTP/1.0", "Connection: close"]
    )
    def test_connection_ends_where_the_client_wants_that(self, line, key, ending):
        line.sendall(whole(key, at(1), *ending.pop("more", []), **ending))
        assert answer_on(line)[0] == 201
        assert is_closed(line)

    @pytest.mark.parametrize("pieces", [1, 3, 500])
    def test_offer_of_http_2_is_let_pass(self, line, key, pieces):
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        request = whole(key, at(1), *offer)
        size = -(-len(request) // pieces)
        for place in range(0, len(request), size):
            line.sendall(request[place : place + size])
        assert answer_on(line)[0] == 201
        line.sendall(whole(key, at(2), *offer))
        assert answer_on(line)[0] == 201
        line.sendall(b"GET /health/ HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert answer_on(line) == (299, b"GET /health/")
        assert Reading.objects.count() == 2

    def test_client_that_leaves_in_the_middle_leaves_nothing(self, line, send, key):
        line.sendall(whole(key, at(1))[:-10])
        line.close()
        assert send(at(2))[0] == 201
        assert Reading.objects.count() == 1

    def test_client_that_does_not_wait_for_its_answer_is_stored(self, line, send, key):
        line.sendall(whole(key, at(1)))
        line.close()
        assert send(at(2))[0] == 201
        # Requests that are under way at once may be stored in either order.
        wait_for(lambda: Reading.objects.count() == 2)

    @pytest.mark.parametrize("data", [b"\x16\x03\x01 hello\r\n\r\n", b"CONNECT hub:80 HTTP/1.1\r\nHost: hub\r\n\r\n"])
    def test_what_is_no_request_for_the_hub_is_refused(self, line, data):
        line.sendall(data)
        assert answer_on(line)[0] == 400
        assert is_closed(line)


class TestLimits:
    @pytest.fixture(autouse=True)
    def little(self, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"MAX_BODY_BYTES": 1000}

    def test_body_over_the_limit_is_read_to_its_end(self, send):
        status, _, body = send(b" " * 3000)
        assert (status, json.loads(body)["status"]) == (413, 413)
        assert send()[0] == 201

    def test_so_is_one_that_says_nothing_of_its_length(self, send):
        assert send_parts(send, [b" " * 500] * 6, {"Transfer-Encoding": "chunked"})[0] == 413
        assert send()[0] == 201

    def test_body_that_is_announced_as_enormous_is_not_waited_for(self, line, key):
        line.sendall(head(key, "Content-Length: 100000000"))
        assert answer_on(line)[0] == 413
        assert is_closed(line)

    def test_body_without_end_is_broken_off(self, line, key):
        line.sendall(head(key, "Transfer-Encoding: chunked"))
        with suppress(ConnectionError):
            for _ in range(30):
                line.sendall(b"1f4\r\n" + b" " * 500 + b"\r\n")
        assert line.recv(12) == b"HTTP/1.1 413"

    def test_head_without_end_is_refused(self, line, key):
        line.sendall(head(key)[:-2])
        with suppress(ConnectionError):
            for n in range(100):
                line.sendall(f"X-{n}: {'x' * 1000}\r\n".encode())
        assert line.recv(12) == b"HTTP/1.1 400"

    @pytest.mark.parametrize("begun", ["", "POST /api/v1/tele", "POST /api/v1/telemetry/ HTTP/1.1\r\nHost: hub\r\n"])
    def test_connection_that_asks_nothing_is_closed(self, monkeypatch, port, begun):
        monkeypatch.setattr(edge, "HEAD_SECONDS", 0.2)
        with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as line:
            line.sendall(begun.encode())
            assert is_closed(line)

    def test_so_is_one_whose_head_comes_in_drops(self, monkeypatch, port, key):
        monkeypatch.setattr(edge, "HEAD_SECONDS", 0.2)
        with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as line, suppress(ConnectionError):
            for drop in head(key):
                line.sendall(bytes([drop]))
                time.sleep(0.02)
            pytest.fail("It was listened to for too long.")

    def test_body_that_does_not_come_is_not_waited_for(self, monkeypatch, line, key):
        monkeypatch.setattr(edge, "PAUSE_SECONDS", 0.2)
        line.sendall(head(key, "Content-Length: 500"))
        assert is_closed(line)


def next_of(file) -> tuple[int, bytes]:
    """One of several answers."""
    status = int(file.readline().split()[1])
    length = 0
    while (field := file.readline().strip().lower()) != b"":
        name, _, value = field.partition(b":")
        length = int(value) if name == b"content-length" else length
    return status, file.read(length)
