"""Prints helm/zengate/README.md, made of the comments of values.yaml (`# -- …`)."""

import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "helm/zengate"

HEAD = """# The chart zengate

Kubernetes 1.27 or later; tested with Helm 4.3. [docs/deployment.md](../../docs/deployment.md) leads from nothing to a
served reset. This page is made of values.yaml by `make chart-readme`.

| Key | Default | Meaning |
|---|---|---|
"""


def documented(text):
    """(path, meaning) of each commented key, in order."""
    path, comment, rows = [], [], []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("# ") and comment:
            comment.append(stripped.removeprefix("# "))
        elif key := re.match(r"^( *)([A-Za-z0-9]+):", line):
            depth = len(key[1]) // 2
            path = path[:depth] + [key[2]]
            if comment:
                rows.append((tuple(path), " ".join(comment)))
            comment = []
        else:
            comment = []
    return rows


def default(values, path):
    for key in path:
        values = values[key]
    if values == "":
        return ""
    text = yaml.safe_dump(values, default_flow_style=True, width=10_000)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def page():
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows = [
        f"| `{'.'.join(path)}` | {default(values, path)} | {meaning} |\n"
        for path, meaning in documented(text)
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
