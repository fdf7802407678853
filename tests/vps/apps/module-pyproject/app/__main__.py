import os

from waitress import serve


def page(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"python -m app in {os.environ['PROJECT_NAME']}".encode()]


serve(page, host=os.environ["HOST"], port=int(os.environ["PORT"]))
