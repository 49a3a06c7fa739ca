"""What the client of a server makes of its answers, with a server that is a script."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.errors import BadInput, RunFailed
from rollouts.served.client import ServerClient, ServerGone


class Script(BaseHTTPRequestHandler):
    """`/ok` answers after two beats, `/half` breaks off, `/silent` says nothing more."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 200 if self.headers["Authorization"] == "Bearer good" else 401
        self.send_response(404 if self.path == "/none" else status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.part(b"\n")
        if self.path == "/silent":
            time.sleep(2)
        elif self.path != "/half":
            self.part(
                json.dumps({"/ok": {"x": 0.1}, "/dead": DEAD}.get(self.path, FAILED)).encode()
            )
            self.part(b"")
        self.close_connection = True

    def part(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_):
        pass


DEAD, FAILED = {"error": "its engine ended", "dead": True}, {"error": "KeyError: 'kind'"}


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Script)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("path", "secret", "raised", "words"),
    [
        ("/half", "good", ServerGone, "IncompleteRead"),
        ("/dead", "good", ServerGone, "its engine ended"),
        ("/failed", "good", RunFailed, "KeyError: 'kind'"),
        ("/silent", "good", RunFailed, "did not answer for 1 s"),
        ("/ok", "bad", BadInput, "refuses the secret"),
        ("/none", "good", BadInput, "status 404"),
    ],
)
def test_what_a_client_makes_of_answers(address, path, secret, raised, words):
    client = ServerClient(address, secret, "server 0", 0.7)
    with pytest.raises(raised, match=words):
        client.ask(path)
    assert ServerClient(address, "good", "server 0", 0.7).ask("/ok") == {"x": 0.1}


def test_nobody_at_an_address_is_a_server_that_is_gone():
    with pytest.raises(ServerGone, match="refused"):
        ServerClient("http://127.0.0.1:9", "good", "server 0", 1.0).ask("/ok")
