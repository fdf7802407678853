"""What the Celery worker does."""

import os

from celery import Celery

app = Celery("tasks", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
# Results are announced on a channel; the prefix makes it this project's own.
app.conf.result_backend_transport_options = {"global_keyprefix": os.environ["PROJECT_NAME"] + "_"}


@app.task
def add(a, b):
    return a + b
