"""Checks recorded answers against an OpenAPI 3.1 file.

    check_answers.py SPEC RECORDED

RECORDED holds one JSON object a line: method, route (the template, as in the specification), status,
contentType, headers (names in lower case), body (JSON, a string, or null). One line is printed for each
difference. Exit code 1: there is one; 2: nothing was recorded.
"""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def resolve(spec, node):
    """Follows a `$ref` inside the specification."""
    while "$ref" in node:
        target = spec
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


# Of a request that is sent again by its `Idempotency-Key`.
BY_KEY_ALONE = {"Idempotency-Replayed"}


def differences(spec, registry, answer):
    item = spec["paths"].get(answer["route"])
    if item is None:
        yield "the route is not in the specification"
        return
    operation = item.get(answer["method"].lower())
    if operation is None:
        yield "the method is not in the specification"
        return
    response = operation["responses"].get(str(answer["status"]))
    if response is None:
        yield "the status is not in the specification"
        return
    response = resolve(spec, response)
    # A header is declared for the answers that have it; `RateLimit` only for callers that are known.
    for name in response.get("headers", {}):
        if name.lower() not in answer["headers"] and name not in BY_KEY_ALONE:
            yield f"the header {name} is missing"
    media = (answer["contentType"] or "").split(";")[0]
    content = response.get("content", {}).get(media)
    if content is None:
        yield f"the content type {media!r} is not in the specification"
        return
    schema = {"$ref": "urn:spec#" + pointer_of(spec, content["schema"])} if "$ref" in content["schema"] else content["schema"]
    validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
    for error in validator.iter_errors(answer["body"]):
        yield f"{error.json_path}: {error.message}"


def pointer_of(spec, schema):
    return schema["$ref"].removeprefix("#")


def closed(node):
    """Objects of the specification have the fields it names and no others."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for value in node.values():
            closed(value)
    elif isinstance(node, list):
        for value in node:
            closed(value)


def main(spec_file, recorded_file):
    with open(spec_file, encoding="utf-8") as file:
        spec = json.load(file)
    # Fields that come by `allOf` or `oneOf` cannot be closed one by one.
    for name, schema in spec["components"]["schemas"].items():
        if "allOf" not in schema:
            closed(schema)
    registry = Registry().with_resource("urn:spec", Resource.from_contents(spec, default_specification=DRAFT202012))
    count = failed = 0
    with open(recorded_file, encoding="utf-8") as file:
        for line in file:
            answer = json.loads(line)
            count += 1
            for difference in differences(spec, registry, answer):
                failed += 1
                print(f"{answer['method']} {answer['route']} {answer['status']}: {difference}")
    print(f"{count} answers, {failed} differences")
    sys.exit(2 if count == 0 else 1 if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
