"""What the Celery worker does."""

import os

from celery import Celery
from celery.backends.redis import RedisBackend

# Results are announced on a channel, and this makes it the project's own. From Celery 5.3 on it is
# result_backend_transport_options = {"global_keyprefix": "NAME_"}.
RedisBackend.task_keyprefix = (os.environ["PROJECT_NAME"] + "_celery-task-meta-").encode()
app = Celery("tasks", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])


@app.task
def add(a, b):
    return a + b
