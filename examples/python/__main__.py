"""Starts the service: ``python -m app``, where ``app`` is the deployed release."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import VERSION


class Handler(BaseHTTPRequestHandler):
    """Answers ``/`` and the health check."""

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/healthz":
            self.answer(200, "ok")
        elif path == "/":
            self.answer(200, f"{VERSION} of {os.environ.get('PROJECT_NAME', 'the Python example')}")
        else:
            self.answer(404, f"Nothing at {path}")

    def answer(self, status, text):
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Waits for the answers under way before it ends."""

    daemon_threads = False


def main():
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
    with Server(address, Handler) as server:

        def stop(_signal, _frame):
            # shutdown() waits for the serving loop, which runs in this very thread.
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, stop)
        print(f"{VERSION} listens on http://{address[0]}:{address[1]}", file=sys.stderr)
        server.serve_forever()


main()
