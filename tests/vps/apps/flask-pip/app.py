import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def page():
    return f"Flask in {os.environ['PROJECT_NAME']}"
