"""Has passwords generated and sealed to keys of jwcrypto's making, and opens them with jwcrypto.

Needs the PyPI package jwcrypto, a gateway whose token is in TOKEN, and the simulated Zenlayer behind it. Prints one line a
key. Exits 1 and says why when one does not open to the very password that Zenlayer was given.
"""

import argparse
import json
import os
import sys
from urllib.request import ProxyHandler, Request, build_opener

from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

KEYS = {
    "RSA-2048": ("RSA-OAEP-256", dict(kty="RSA", size=2048)),
    "RSA-4096": ("RSA-OAEP-256", dict(kty="RSA", size=4096)),
    "P-256": ("ECDH-ES", dict(kty="EC", crv="P-256")),
}

# Anything set for the machine's own traffic must not carry this off loopback.
opener = build_opener(ProxyHandler({}))


def call(url, body=None):
    headers = {"Authorization": "Bearer " + os.environ["TOKEN"], "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with opener.open(Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


def same(what, seen, expected):
    if seen != expected:
        sys.exit(f"sealed.py: {what}: expected {expected!r}, saw {seen!r}")


def opened(text, key):
    token = JWE()
    token.deserialize(text, key)
    return token.jose_header, token.payload.decode()


def main(gateway, simulator, instance):
    for name, (algorithm, parameters) in KEYS.items():
        key = JWK.generate(kid="the-" + name, **parameters)
        body = {"generate": True, "recipientKey": json.loads(key.export_public())}
        made = call(f"{gateway}/v1/instances/{instance}/password-resets", body)
        same(f"{name}: in the clear", made.get("password"), None)
        header, password = opened(made["sealedPassword"], key)
        same(f"{name}: header", {k: header[k] for k in ("alg", "enc", "kid")},
             {"alg": algorithm, "enc": "A256GCM", "kid": "the-" + name})
        instances = call(f"{simulator}/_simulator/instances")["instances"]
        held = next(told["password"] for told in instances if told["instanceId"] == instance)
        same(f"{name}: password", password, held)
        again = call(f"{gateway}/v1/password-resets/{made['id']}")
        same(f"{name}: read again", opened(again["sealedPassword"], key)[1], held)
        print(f"{name}: opened")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("gateway", "simulator", "instance"):
        parser.add_argument("--" + name, required=True)
    main(**vars(parser.parse_args()))
