"""A cutout service on this machine that serves what a test gives it, and misbehaves when told to."""

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class CutoutServer:
    """respond(query) -> bytes of a good answer; ``script[ra]`` is what happens to the first requests of that ra, in
    order.

    Steps: "ok", a status code ("500", "404", ...), "truncated" (connection closed half way), "short" (half of the
    bytes, as if they were all), "slow" (no answer for ``delay_s``), "declared" (a huge Content-Length), "endless"
    (never stops), or bytes, which are served as they are.
    """

    def __init__(self, respond, *, delay_s=1.5):
        self.respond = respond
        self.delay_s = delay_s
        self.script = defaultdict(list)
        self.requests = []
        self.started_at = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.url = ""


@contextmanager
def serving(respond, **options):
    server = CutoutServer(respond, **options)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        httpd.shutdown()
        httpd.server_close()


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            with server.lock:
                server.requests.append((parts.path, query))
                server.started_at.append(time.monotonic())
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
                steps = server.script[query.get("ra")]
                step = steps.pop(0) if steps else "ok"
            try:
                self.answer(step, query)
            except OSError:
                pass
            finally:
                with server.lock:
                    server.in_flight -= 1

        def answer(self, step, query):
            if isinstance(step, str) and step.isdigit():
                self.send(int(step), b"no")
                return
            content = step if isinstance(step, bytes) else server.respond(query)
            if step == "slow":
                server.stop.wait(server.delay_s)
            if step == "short":
                content = content[: len(content) // 2]
            if step == "truncated":
                self.send(200, content[: len(content) // 2], declared=len(content))
                self.close_connection = True
            elif step == "declared":
                self.send(200, b"", declared=10**12)
                self.close_connection = True
            elif step == "endless":
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                while not server.stop.is_set():
                    self.wfile.write(b"\0" * 65536)
            else:
                self.send(200, content)

        def send(self, status, content, declared=None):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if declared is None else declared))
            self.end_headers()
            self.wfile.write(content)

    return Handler
