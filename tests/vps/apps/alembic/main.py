import os

import psycopg
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def page(request):
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return PlainTextResponse(connection.execute("SELECT text FROM notes").fetchone()[0])


app = Starlette(routes=[Route("/", page)])
