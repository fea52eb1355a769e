"""What schemathesis is told beside the specification: which refusals of well-shaped requests are right."""

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

# A cursor is sealed: only one that the gateway made is one. A key has no use in a dry run.
BEYOND_A_SCHEMA = {"cursor", "Idempotency-Key"}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if not isinstance(failure, RejectedPositiveData):
        return True
    # 400 is the shape, which the specification says whole; 422 is a value: the rule of passwords, a key on the curve.
    if response.status_code == 422:
        return False
    places = {error.get("parameter") or error.get("header") for error in response.json().get("errors", [])}
    return not (places and places <= BEYOND_A_SCHEMA)
