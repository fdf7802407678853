import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def page():
    return {"text": f"FastAPI in {os.environ['PROJECT_NAME']}"}
