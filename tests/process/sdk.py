"""Drives a running `zengate simulate` with Zenlayer's official SDK, unmodified.

Needs the PyPI package zenlayercloud-sdk-python, and the instances of instances.json beside this file.
Exits 1 and says why when the SDK sees anything it should not.
"""

import argparse
import sys
from urllib.parse import urlsplit

from zenlayercloud.common.config import Config
from zenlayercloud.common.credential import Credential
from zenlayercloud.common.excpetion.zenlayer_cloud_sdk_exception import ZenlayerCloudSdkException
from zenlayercloud.zec.v20240401 import models as older_models, zec_client as older_client
from zenlayercloud.zec.v20250901 import models, zec_client

GOOD_PASSWORD = "Abcd~1234"


def client(url, key_id, key_password, module=zec_client):
    parts = urlsplit(url)
    config = Config(scheme=parts.scheme, domain=parts.netloc, request_timeout=10, rate_limit_max_retries=0)
    return module.ZecClient(Credential(key_id, key_password), config)


def same(what, seen, expected):
    if seen != expected:
        sys.exit(f"sdk.py: {what}: expected {expected!r}, saw {seen!r}")


def reset(zec, instance, password=GOOD_PASSWORD):
    request = models.ResetInstancePasswordRequest()
    request.instanceId = instance
    request.password = password
    return zec.ResetInstancePassword(request)


def describe(zec, **filters):
    request = models.DescribeInstancesRequest()
    for name, value in filters.items():
        setattr(request, name, value)
    return zec.DescribeInstances(request)


def refused(what, code, call):
    try:
        call()
    except ZenlayerCloudSdkException as error:
        same(f"{what}: code", error.code, code)
        same(f"{what}: first letter of the request id", (error.request_id or " ")[0], "T")
    else:
        sys.exit(f"sdk.py: {what}: expected {code}, but the call went through")


def check_resets(zec, url, arguments):
    answer = reset(zec, arguments.instance)
    same("reset: first letter of the request id", (answer.requestId or " ")[0], "T")
    older = client(url, arguments.access_key_id, arguments.access_key_password, older_client)
    request = older_models.ResetInstancePasswordRequest()
    request.instanceId = arguments.instance
    request.password = GOOD_PASSWORD
    older.ResetInstancePassword(request)
    for what, code, instance, password in [
        ("a missing instance", "INVALID_INSTANCE_NOT_FOUND", "no-such-instance", GOOD_PASSWORD),
        ("an instance outside ASCII", "INVALID_INSTANCE_NOT_FOUND", "實例-1", GOOD_PASSWORD),
        ("a weak password", "INVALID_PASSWORD_MALFORMED", arguments.instance, "password"),
        ("no password", "MISSING_PARAMETER", arguments.instance, None),
        ("a number for a password", "INVALID_PARAMETER_TYPE", arguments.instance, 12345678),
        ("a stopped instance", "OPERATION_DENIED_INSTANCE_NOT_RUNNING", "ins-b", GOOD_PASSWORD),
    ]:
        refused(what, code, lambda: reset(zec, instance, password))


def check_lists(zec):
    for filters, total, ids in [
        ({}, 4, ["ins-a", "ins-b", "ins-c", "ins-d"]),
        ({"pageSize": 2, "pageNum": 1}, 4, ["ins-a", "ins-b"]),
        ({"pageSize": 3, "pageNum": 2}, 4, ["ins-d"]),
        ({"pageSize": 3, "pageNum": 3}, 4, []),
        ({"instanceIds": ["ins-c", "no-such-instance", "ins-a"]}, 2, ["ins-a", "ins-c"]),
        ({"zoneId": "asia-east-1a"}, 2, ["ins-a", "ins-b"]),
        ({"resourceGroupId": "rg-payments", "status": "RUNNING"}, 2, ["ins-a", "ins-c"]),
        ({"imageId": "img-debian"}, 1, ["ins-a"]),
        ({"name": "payments"}, 2, ["ins-a", "ins-c"]),
        ({"ipv4Address": "203.0.113.10"}, 1, ["ins-a"]),
        ({"ipv6Address": "2001:db8::10"}, 1, ["ins-a"]),
        ({"tagKeys": ["env"]}, 1, ["ins-a"]),
        ({"tags": [models.Tag({"key": "team", "value": "payments"})]}, 2, ["ins-a", "ins-c"]),
        ({"tags": [models.Tag({"key": "team", "value": "web"})], "status": "RUNNING"}, 0, []),
    ]:
        answer = describe(zec, **filters)
        same(f"{filters}: totalCount", answer.totalCount, total)
        same(f"{filters}: ids", [each.instanceId for each in answer.dataSet], ids)
    first = describe(zec, instanceIds=["ins-a"]).dataSet[0]
    same("tags", [(tag.key, tag.value) for tag in first.tags.tags], [("team", "payments"), ("env", "dev")])
    same("agent", first.enableAgent, True)
    for filters, code in [
        ({"pageSize": 1001}, "INVALID_PARAMETER_EXCEED_MAXIMUM"),
        ({"pageNum": 0}, "INVALID_PARAMETER_LESS_MINIMUM"),
        ({"pageSize": "10"}, "INVALID_PARAMETER_TYPE"),
        ({"instanceIds": [str(number) for number in range(101)]}, "INVALID_PARAMETER_EXCEED_MAXIMUM"),
    ]:
        refused(f"{filters}", code, lambda: describe(zec, **filters))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ["--url", "--access-key-id", "--access-key-password", "--instance"]:
        parser.add_argument(option, required=True)
    arguments = parser.parse_args()
    zec = client(arguments.url, arguments.access_key_id, arguments.access_key_password)
    check_resets(zec, arguments.url, arguments)
    check_lists(zec)
    other_password = client(arguments.url, arguments.access_key_id, arguments.access_key_password + "x")
    refused("a wrong key password", "AUTHFAILURE_SIGNATURE_FAILURE", lambda: reset(other_password, arguments.instance))
    other_id = client(arguments.url, arguments.access_key_id + "x", arguments.access_key_password)
    refused("an unknown key id", "AUTHFAILURE_INVALID_AUTHORIZATION", lambda: describe(other_id))
    print("sdk.py: all as expected")


if __name__ == "__main__":
    try:
        main()
    except ZenlayerCloudSdkException as error:
        sys.exit(f"sdk.py: a call that should go through failed: {error.code}: {error.message}")
