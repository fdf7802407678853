"""A guest book: says what is in its database, its shared files and its environment."""

import http.server
import os

import psycopg2

QUESTION = """
SELECT count(*), coalesce(sum(hashtextextended(g::text, 0)), 0), (SELECT count(*) FROM visits) FROM guests g
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            connection = psycopg2.connect(os.environ["DATABASE_URL"])
            with connection.cursor() as cursor:
                cursor.execute(QUESTION)
                guests = "guests %s %s visits %s" % cursor.fetchone()
            connection.close()
            name = os.environ["PROJECT_NAME"]
            with open(f"/home/{name}/shared/photo") as photo:
                text = f"{guests} photo {photo.read().strip()} token {os.environ.get('TOKEN')}"
            self.send_response(200)
        except Exception as error:
            text = f"broken: {error}"
            self.send_response(500)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
