"""A project's S3 client: boto3, with nothing but what stands in its `.env`.

usage: work ENV           everything a usual application does
       attack ENV BUCKET  everything it must not be able to do with another one's bucket, or with its own
       same ENV           whether what `work` left is there as it was, with all that was said of it
       fill ENV BYTES     one object of this size; says the status when it is refused
       load ENV STOP      puts and gets until the file STOP is there; says how often, and what failed
       opens ENV          whether the bucket can be listed

Says what is wrong, line by line, and ends with 1 when there was anything.
"""

import os
import sys
import time

sys.path.append("/opt/s3-client")

import boto3
import botocore.config
import botocore.exceptions

wrong = []
KEYS = ["plain", "a/b/c.txt", "ü ä+&?#%2e", "x" * 500]


def complain(what):
    wrong.append(what)
    print(what)


def read(path):
    pairs = {}
    for line in open(path):
        key, equals, value = line.rstrip("\n").partition("=")
        if equals and not key.startswith("#"):
            pairs[key] = value.strip("'\"")
    return pairs


def client(env):
    config = botocore.config.Config(
        retries={"max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30
    )
    return boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT"],
        region_name=env["S3_REGION"],
        aws_access_key_id=env["S3_ACCESS_KEY"],
        aws_secret_access_key=env["S3_SECRET_KEY"],
        config=config,
    )


def status(call):
    """The HTTP status of what a call was answered."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    return 200


def work(env):
    s3, bucket = client(env), env["S3_BUCKET"]
    for key in KEYS:
        body = key.encode() * 10
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/plain", Metadata={"by": "test"})
        got = s3.get_object(Bucket=bucket, Key=key)
        if got["Body"].read() != body or got["ContentType"] != "text/plain" or got["Metadata"] != {"by": "test"}:
            complain(f"{key[:20]} came back otherwise")
    names = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    if len(names) != 4:
        complain(f"the list is {names}")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "plain"})
    part = s3.get_object(Bucket=bucket, Key="copy", Range="bytes=0-4")["Body"].read()
    if part != b"plain":
        complain(f"a range is {part}")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    parts = []
    for number, body in [(1, b"1" * (5 << 20)), (2, b"2")]:
        tag = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    s3.complete_multipart_upload(Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": parts})
    if s3.head_object(Bucket=bucket, Key="large")["ContentLength"] != (5 << 20) + 1:
        complain("the large object is not whole")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "plain"}, ExpiresIn=60)
    import urllib.request

    if urllib.request.urlopen(url, timeout=10).read() != b"plain" * 10:
        complain("its own presigned address leads elsewhere")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}, {"Key": "large"}]})
    if status(lambda: s3.head_object(Bucket=bucket, Key="copy")) != 404:
        complain("what was deleted is there")


def same(env):
    s3, bucket = client(env), env["S3_BUCKET"]
    names = sorted(o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", []))
    if names != sorted(KEYS):
        complain(f"the list is {names}")
        return
    for key in KEYS:
        got = s3.get_object(Bucket=bucket, Key=key)
        if got["Body"].read() != key.encode() * 10:
            complain(f"{key[:20]} has other bytes")
        if got["ContentType"] != "text/plain" or got["Metadata"] != {"by": "test"}:
            complain(f"of {key[:20]} something else is said")


def attack(env, other):
    s3, own = client(env), env["S3_BUCKET"]
    refused = {
        "list": lambda: s3.list_objects_v2(Bucket=other),
        "head the bucket": lambda: s3.head_bucket(Bucket=other),
        "get": lambda: s3.get_object(Bucket=other, Key="plain"),
        "head": lambda: s3.head_object(Bucket=other, Key="plain"),
        "put": lambda: s3.put_object(Bucket=other, Key="plain", Body=b"mine"),
        "delete": lambda: s3.delete_object(Bucket=other, Key="plain"),
        "delete many": lambda: s3.delete_objects(Bucket=other, Delete={"Objects": [{"Key": "plain"}]}),
        "copy from": lambda: s3.copy_object(
            Bucket=own, Key="stolen", CopySource={"Bucket": other, "Key": "plain"}
        ),
        "begin an upload": lambda: s3.create_multipart_upload(Bucket=other, Key="x"),
        "list uploads": lambda: s3.list_multipart_uploads(Bucket=other),
        "open to the web": lambda: s3.put_bucket_website(
            Bucket=other, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
        ),
        "allow other origins": lambda: s3.put_bucket_cors(
            Bucket=other,
            CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]},
        ),
        "delete the bucket": lambda: s3.delete_bucket(Bucket=other),
        "make a bucket": lambda: s3.create_bucket(Bucket="a-bucket-more"),
        "open its own to the web": lambda: s3.put_bucket_website(
            Bucket=own, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
        ),
        "delete its own bucket": lambda: s3.delete_bucket(Bucket=own),
    }
    for what, call in refused.items():
        got = status(call)
        if got != 403:
            complain(f"{what}: {got}")
    seen = [b["Name"] for b in s3.list_buckets()["Buckets"]]
    if seen != [own]:
        complain(f"it sees the buckets {seen}")
    anonymous = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT"],
        region_name=env["S3_REGION"],
        config=botocore.config.Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"}),
    )
    if status(lambda: anonymous.list_objects_v2(Bucket=other)) != 403:
        complain("somebody without a key sees a bucket")


def fill(env, size):
    s3 = client(env)
    print(status(lambda: s3.put_object(Bucket=env["S3_BUCKET"], Key="filling", Body=b"x" * int(size))))


def load(env, stop):
    s3, done = client(env), 0
    while not os.path.exists(stop):
        key = f"load/{done % 10}"
        try:
            s3.put_object(Bucket=env["S3_BUCKET"], Key=key, Body=str(done).encode())
            if s3.get_object(Bucket=env["S3_BUCKET"], Key=key)["Body"].read() != str(done).encode():
                complain(f"{key} came back otherwise")
        except Exception as error:  # whatever it is, it failed
            complain(f"after {done}: {error}")
            break
        done += 1
        time.sleep(0.02)
    print(f"done {done}")


def opens(env):
    s3 = client(env)
    code = status(lambda: s3.list_objects_v2(Bucket=env["S3_BUCKET"]))
    if code != 200:
        complain(f"refused with {code}")


COMMANDS = {"work": work, "same": same, "attack": attack, "fill": fill, "load": load, "opens": opens}
COMMANDS[sys.argv[1]](read(sys.argv[2]), *sys.argv[3:])
sys.exit(bool(wrong))
