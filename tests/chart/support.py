"""Renders the chart with the real Helm, and lays out what a pod of it would see."""

import base64
import functools
import os
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/zengate"
HELM = ROOT / "target/tools/helm/helm"
ZENGATE = pathlib.Path(os.environ.get("ZENGATE_TEST_BINARY", ROOT / "target/debug/zengate"))
NAMESPACE, RELEASE = "prod", "rel"
# Where the chart's pods keep what they read and write.
ETC, DATA = "/etc/zengate", "/var/lib/zengate"


def run(*command, **options):
    command = [str(word) for word in command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def rows():
    """The matrix: a file of values each."""
    return sorted(CHART.glob("ci/*-values.yaml"))


def helm(*arguments):
    # Nothing of the machine's own Helm.
    return run(HELM, *arguments, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})


def template(*arguments, release=RELEASE):
    return helm("template", release, CHART, "--namespace", NAMESPACE, *arguments)


@functools.cache
def rendered(*arguments, release=RELEASE):
    """The manifests; do not change them."""
    output = template(*arguments, release=release)
    assert output.returncode == 0, output.stderr
    return [manifest for manifest in yaml.safe_load_all(output.stdout) if manifest]


def of(row):
    return rendered("--values", row)


def one(manifests, kind, suffix=""):
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(suffix)]
    return found


def pod(manifests):
    return one(manifests, "Deployment")["spec"]["template"]


def container(manifests):
    return pod(manifests)["spec"]["containers"][0]


def settings(manifests):
    """What the Deployment sets by the environment."""
    return {entry["name"]: entry["value"] for entry in container(manifests)["env"]}


class Pod:
    """The files that the container of a Deployment sees, under a folder. What the chart does not make comes from
    `outside`: (kind, name) to {key: text}, and for volumes ("Volume", name) to {path: text}."""

    def __init__(self, manifests, folder, outside):
        self.folder, self.outside = pathlib.Path(folder), outside
        self.maps = {m["metadata"]["name"]: m["data"] for m in manifests if m["kind"] == "ConfigMap"}
        spec, self.environment = pod(manifests)["spec"], settings(manifests)
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container(manifests)["volumeMounts"]:
            for path, text in self.files(volumes[mount["name"]]).items():
                within = mount["mountPath"] if "subPath" in mount else f"{mount['mountPath']}/{path}"
                if "subPath" in mount and mount["subPath"] != path:
                    continue
                target = self.folder / within.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                assert not target.exists(), f"{within} is there twice"
                target.write_text(text)

    def files(self, volume):
        if source := volume.get("configMap"):
            return self.items(self.config_map(source["name"]), source.get("items"))
        if source := volume.get("projected"):
            files = {}
            for part in source["sources"]:
                ((kind, of),) = part.items()
                data = self.config_map(of["name"]) if kind == "configMap" else self.outside["Secret", of["name"]]
                more = self.items(data, of["items"])
                assert not files.keys() & more.keys(), f"{volume['name']} has a path twice"
                files |= more
            return files
        return self.outside.get(("Volume", volume["name"]), {})

    def config_map(self, name):
        return self.maps.get(name) or self.outside["ConfigMap", name]

    @staticmethod
    def items(data, items):
        return {item["path"]: data[item["key"]] for item in items} if items is not None else data

    def zengate(self, *arguments):
        """Runs it with the environment of the container, and every path under the folder."""
        def moved(value):
            return f"{self.folder}{value}" if value.startswith((ETC, DATA)) else value

        environment = {name: moved(value) for name, value in self.environment.items()}
        return run(ZENGATE, *arguments, cwd=f"{self.folder}{ETC}", env=environment)


def commands(page, heading):
    """The commands of the first console block under a heading of a page of docs/, without what they answer."""
    text = (ROOT / "docs" / page).read_text().split(f"\n{heading}\n", 1)[1]
    block = re.search(r"```console\n(.*?)```", text, re.S)[1]
    return "\n".join(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


def compose_secrets(folder, chown=True):
    """Makes policies and secrets in this folder by the commands that the page gives, up to what starts it."""
    script = commands("deployment.md", "## One host, with compose").split("docker compose")[0]
    here = "cp -r policies examples/compose && cd examples/compose"
    assert here in script
    if not chown:
        script = script.replace("chown -R 65532:65532 secrets && ", "")
    output = run("bash", "-euc", script.replace(here, f"cp -r '{ROOT}/policies' ."), cwd=folder)
    assert output.returncode == 0, output.stderr


def tls_pair():
    """A certificate of its own and its key, PEM."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "zengate.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now,
        not_valid_after=now + datetime.timedelta(days=1),
    ).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def signing_key():
    """As `openssl genpkey -algorithm ed25519` makes it."""
    der = bytes.fromhex("302e020100300506032b657004220420") + bytes(range(32))
    return f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END PRIVATE KEY-----\n"
