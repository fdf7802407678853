"""Stores things everywhere a project can, with nothing but its environment."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Debian's packages; the release's own environment has only the standard library.
sys.path.append("/usr/lib/python3/dist-packages")
sys.path.append(os.path.dirname(__file__))

import boto3
import sqlalchemy

from tasks import add

engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"])


def database():
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS visit (at timestamptz DEFAULT now())"))
        connection.execute(sqlalchemy.text("INSERT INTO visit DEFAULT VALUES"))
        return connection.execute(sqlalchemy.text("SELECT count(*) FROM visit")).scalar()


def bucket():
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        aws_access_key_id=os.environ["S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET_KEY"],
        region_name=os.environ["S3_REGION"],
    )
    client.put_object(Bucket=os.environ["S3_BUCKET"], Key="greeting", Body=b"hello")
    return client.get_object(Bucket=os.environ["S3_BUCKET"], Key="greeting")["Body"].read().decode()


class Handler(BaseHTTPRequestHandler):
    WORK = {
        "/": lambda: "Version 1",
        "/database": database,
        "/celery": lambda: add.delay(2, 3).get(timeout=20),
        "/bucket": bucket,
    }

    def do_GET(self):
        try:
            status, said = 200, self.WORK[self.path]()
        except Exception as error:
            status, said = 500, repr(error)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


worker = ["/usr/bin/celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "WARNING"]
subprocess.Popen(worker, cwd=os.path.dirname(__file__))
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
