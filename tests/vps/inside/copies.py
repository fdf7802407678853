"""Works on the copies of backups as their provider could.

usage: list                 the keys and sizes of all objects
       date FROM TO         copies each object with FROM in its key to one with TO instead
"""

import sys

sys.path.append("/opt/s3-client")

import boto3
import botocore.config

s3 = boto3.client(
    "s3",
    endpoint_url="http://127.0.0.1:3900",
    region_name="garage",
    aws_access_key_id="GKcopies",
    aws_secret_access_key="the-secret-of-copies",
    config=botocore.config.Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
)
found = s3.list_objects_v2(Bucket="copies").get("Contents", [])
if sys.argv[1] == "list":
    for entry in found:
        print(entry["Key"], entry["Size"])
else:
    _, _, old, new = sys.argv
    for key in [entry["Key"] for entry in found if old in entry["Key"]]:
        s3.copy_object(Bucket="copies", Key=key.replace(old, new), CopySource={"Bucket": "copies", "Key": key})
