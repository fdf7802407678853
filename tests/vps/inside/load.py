"""An app that reaches its database in two ways, a connection for each request and one that is kept, and at
`/alive` not at all."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

URL = os.environ["DATABASE_URL"]
kept = psycopg2.connect(URL)
kept.autocommit = True
lock = threading.Lock()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if self.path == "/alive":
                who = "blog_db is not asked"
            elif self.path == "/kept":
                with lock, kept.cursor() as cursor:
                    cursor.execute("SELECT current_user")
                    who = cursor.fetchone()[0]
            else:
                connection = psycopg2.connect(URL)
                with connection, connection.cursor() as cursor:
                    cursor.execute("CREATE TABLE IF NOT EXISTS seen (i int)")
                    cursor.execute("INSERT INTO seen VALUES (1)")
                    cursor.execute("SELECT current_user")
                    who = cursor.fetchone()[0]
                connection.close()
            code, text = 200, who
        except Exception as error:  # noqa: BLE001
            code, text = 500, f"{type(error).__name__}: {error}"
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
