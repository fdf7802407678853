import os

from bottle import get, run


@get("/")
def page():
    return f"Bottle in {os.environ['PROJECT_NAME']}"


run(host=os.environ["HOST"], port=int(os.environ["PORT"]))
