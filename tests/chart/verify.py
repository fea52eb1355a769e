"""Runs the image, the compose file's and the unit's commands against a simulated Zenlayer, and scans what is shipped.

    verify.py IMAGE FOLDER

verify_deploy.sh calls it. Everything is on loopback and under FOLDER, and ends with it. Prints what was seen.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import support
import yaml
from support import ROOT, ZENGATE, run

IMAGE, OUT = sys.argv[1], pathlib.Path(sys.argv[2])
UID = 65532
SEEN = []

# What a scanner says, and why it stands: (check, what it is said of) to the reason.
EXPLAINED = {
    ("CKV_K8S_43", "Deployment"): "image.digest pins it; which digest is the operator's to say",
    ("CKV_K8S_43", "Pod"): "as the Deployment",
    ("CKV_K8S_15", "Deployment"): "versions are not pushed twice; image.pullPolicy says otherwise where they are",
    ("CKV_K8S_15", "Pod"): "as the Deployment",
    ("CKV_K8S_8", "Pod"): "the pod of helm test asks once and ends",
    ("CKV_K8S_9", "Pod"): "the pod of helm test asks once and ends",
    ("CKV2_K8S_6", "Pod"): "the pod of helm test serves nothing; the policy of what it asks names it",
    ("CKV_DOCKER_7", "FROM"): "the base is an argument; its default has a version",
}


def saw(what, value):
    SEEN.append((what, value))
    print(f"{what}: {value}", flush=True)


def good(output):
    assert output.returncode == 0, f"{output.args}: {output.returncode}\n{output.stdout}{output.stderr}"
    return output.stdout.strip()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until(what, ask, seconds=60):
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return answer


def call(url, token=None, body=None):
    """Status and JSON."""
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def fresh(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def ending(process):
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class World:
    """A simulated Zenlayer, and an issuer of tokens."""

    ISSUER = "https://login.example.com"

    def __init__(self, folder):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.folder = folder
        key = ec.generate_private_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()

        def text(number):
            import base64

            return base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()

        jwk = {"kty": "EC", "crv": "P-256", "kid": "corp", "x": text(numbers.x), "y": text(numbers.y)}
        self.jwks = json.dumps({"keys": [jwk]})
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "issuer.pem").write_bytes(pem)
        (folder / "access-key-password").write_text("sk-1")
        tags = {"tags": [{"key": "team", "value": "payments"}]}
        instances = [
            {"instanceId": f"ins-{n}", "status": "RUNNING", "enableAgent": True, "tags": tags} for n in range(5)
        ]
        (folder / "instances.json").write_text(json.dumps(instances))

    @contextlib.contextmanager
    def running(self):
        ready = self.folder / "ready.json"
        command = [ZENGATE, "simulate", "--instances", self.folder / "instances.json", "--access-key-id", "ak-1"]
        command += ["--access-key-password-file", self.folder / "access-key-password", "--ready-file", ready]
        with ending(subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)):
            until("the simulated Zenlayer", ready.exists)
            self.url = json.loads(ready.read_text())["url"]
            yield self

    def token(self):
        command = [ZENGATE, "token", "mint", "--key-file", self.folder / "issuer.pem", "--kid", "corp"]
        command += ["--issuer", self.ISSUER, "--subject", "me", "--team", "payments"]
        return good(run(*command))

    def password_of(self, instance):
        _, told = call(f"{self.url}/_simulator/instances")
        (found,) = [each for each in told["instances"] if each["instanceId"] == instance]
        return found.get("password")

    def is_reset_through(self, address, instance):
        """One whole reset, from the caller to Zenlayer and back."""
        password = f"Aa~{time.monotonic_ns() % 10**12:012}"
        url = f"http://{address}/v1/instances/{instance}/password-resets"
        status, made = call(url, self.token(), {"password": password, "reason": "verify"})
        assert status == 201 and made["status"] == "accepted", (status, made)
        assert self.password_of(instance) == password, "Zenlayer has the password"
        status, read = call(f"http://{address}/v1/password-resets/{made['id']}", self.token())
        assert status == 200 and read["receipt"]["sequence"] > 0, (status, read)


def podman(*arguments, **options):
    return run("podman", *arguments, **options)


class Container:
    """The image, run as the chart has it: nobody, without rights, on a root that cannot be written."""

    def __init__(self, name, mounts, environment, ports):
        self.name, self.address, self.operations = name, *(f"127.0.0.1:{port}" for port in ports)
        podman("rm", "--force", "--time", "0", name)
        listen = {"ZENGATE__SERVER__LISTEN": self.address, "ZENGATE__OPERATIONS__LISTEN": self.operations}
        options = ["--network", "host", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:size=64m"]
        options += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        options += [f"--volume={mount}" for mount in mounts]
        self.options = options + [f"--env={key}={value}" for key, value in (environment | listen).items()]
        began = time.monotonic()
        good(podman("run", "--detach", "--name", name, *self.options, IMAGE))
        try:
            # The image's own HEALTHCHECK.
            until("it is healthy", lambda: podman("healthcheck", "run", name).returncode == 0)
        except AssertionError:
            print(self.log(), file=sys.stderr)
            raise
        self.start_seconds = time.monotonic() - began

    def log(self):
        output = podman("logs", self.name)
        return output.stdout + output.stderr

    def inspected(self, path):
        return good(podman("inspect", "--format", f"{{{{{path}}}}}", self.name))

    def stopped(self):
        """Its exit code."""
        good(podman("stop", "--time", "60", self.name))
        return int(self.inspected(".State.ExitCode"))


def process_is_nobody(pid):
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(UID)] * 4, status["Uid"]
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, status
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status


def image():
    size = int(good(run("buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", IMAGE)) and
               good(podman("image", "inspect", "--format", "{{.Size}}", IMAGE)))
    saw("image, unpacked", f"{size / 1e6:.1f} MB")
    archive = OUT / "image.tar.gz"
    with archive.open("wb") as file:
        save = subprocess.Popen(["podman", "save", "--quiet", IMAGE], stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-6"], stdin=save.stdout, stdout=file, check=True)
        assert save.wait() == 0
    saw("image, compressed", f"{archive.stat().st_size / 1e6:.1f} MB")
    archive.unlink()
    config = json.loads(good(podman("image", "inspect", IMAGE)))[0]
    assert config["User"] == f"{UID}:{UID}", config["User"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/zengate", "healthcheck"], config
    labels = config["Labels"]
    for label in ["title", "description", "licenses", "version", "revision"]:
        assert labels[f"org.opencontainers.image.{label}"], label
    assert good(podman("run", "--rm", IMAGE, "--version")) == f"zengate {labels['org.opencontainers.image.version']}"
    for command in ["simulate", "demo"]:
        output = podman("run", "--rm", IMAGE, command)
        assert output.returncode == 2 and "unrecognized subcommand" in output.stderr, output
    assert podman("run", "--rm", "--entrypoint", "/bin/sh", IMAGE, "-c", "true").returncode == 127, "there is a shell"
    output = podman("run", "--rm", IMAGE, "check")
    assert output.returncode == 78, output
    if os.environ.get("ZENGATE_VERIFY_TWICE"):
        again = json.loads(good(podman("image", "inspect", "localhost/zengate:again")))[0]
        assert again["RootFS"]["Layers"] == config["RootFS"]["Layers"], "built again it is another"
        saw("built again without a cache", "the same layers, byte for byte")
    saw("image", "no shell, no simulator, user 65532; a start without a configuration is 78")


def owned(folder, mode):
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, UID, UID)
        path.chmod(mode if path.is_file() else 0o755)


def chart(world):
    """What the chart renders, laid out as a pod has it, with the real image inside."""
    folder = fresh("pod")
    values = {
        "image": {"repository": "localhost/zengate", "tag": "verify"},
        "config": {
            "issuers": {
                "corp": {
                    "issuer": world.ISSUER,
                    "algorithms": ["ES256"],
                    "jwks_file": "files/corp.json",
                    "may_assert_teams": ["payments"],
                }
            },
            "upstream": {"url": world.url},
        },
        "files": {"corp.json": world.jwks},
        "secrets": {"accessKey": {"secretName": "key"}},
        "policies": {"files": {"teams/payments.cedar": (ROOT / "policies/teams/payments.cedar").read_text()}},
    }
    (folder / "values.json").write_text(json.dumps(values))
    manifests = support.rendered("--values", str(folder / "values.json"))
    secret = {"access-key-id": "ak-1", "access-key-password": "sk-1"}
    support.Pod(manifests, folder / "root", {("Secret", "key"): secret})
    etc, data = folder / "root/etc/zengate", folder / "data"
    data.mkdir()
    owned(etc, 0o440)
    owned(data, 0o600)
    data.chmod(0o700)
    ports = [free_port(), free_port()]
    mounts = [f"{etc}:/etc/zengate:ro", f"{data}:/var/lib/zengate:rw"]
    container = Container("zengate-verify", mounts, support.settings(manifests), ports)
    saw("ready after", f"{container.start_seconds:.1f} s")
    assert container.inspected(".HostConfig.ReadonlyRootfs") == "true"
    process_is_nobody(container.inspected(".State.Pid"))
    world.is_reset_through(container.address, "ins-0")
    saw("a reset through the chart's settings", "201, and Zenlayer has the password")
    resident = re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{container.inspected('.State.Pid')}/status").read_text())
    saw("resident then", f"{int(resident[1]) / 1024:.0f} MiB")

    # As the pod of helm test does, by a name.
    asked = ["healthcheck", "--url", f"http://localhost:{ports[1]}/readyz"]
    good(podman("run", "--rm", *container.options, IMAGE, *asked))

    # A stop while one is under way: it is finished, and answered.
    call(f"{world.url}/_simulator/faults", body=[{"fault": "delay", "milliseconds": 2000, "action": "ResetInstancePassword"}])
    answers = []
    url, token = f"http://{container.address}/v1/instances/ins-1/password-resets", world.token()
    asking = threading.Thread(target=lambda: answers.append(call(url, token, {"password": "Example~2026"})))
    asking.start()
    until("it is under way", lambda: world.password_of("ins-1"))
    began = time.monotonic()
    stopping = threading.Thread(target=container.stopped)
    stopping.start()
    health = f"http://{container.operations}/readyz"
    until("it is not ready any more", lambda: call(health)[0] == 503)
    late = call(f"http://{container.address}/v1/instances/ins-2/password-resets", token, {"password": "Example~2026"})
    asking.join()
    stopping.join()
    code = int(container.inspected(".State.ExitCode"))
    assert (code, answers[0][0], late[0]) == (0, 201, 201), (code, answers, late, container.log())
    saw("SIGTERM amid a reset of 2 s", f"it and one begun after it answered 201; exit 0 after {time.monotonic() - began:.1f} s")
    call(f"{world.url}/_simulator/faults", body=[])
    lines = [json.loads(line) for line in container.log().splitlines()]
    assert lines[-1]["message"] == "stopped", lines[-1]
    verified = good(podman("run", "--rm", *container.options, IMAGE, "audit", "verify"))
    saw("audit verify, by the image", verified.splitlines()[-1])
    good(podman("rm", container.name))


def compose(world):
    """Its gateway from the image, its Redis' command by the one here, beside a PostgreSQL of the tests."""
    folder = fresh("compose")
    file = yaml.safe_load((ROOT / "examples/compose/compose.yaml").read_text())
    services = file["services"]
    for name in ["compose.yaml", "zengate.toml"]:
        shutil.copy(ROOT / "examples/compose" / name, folder)
    # As the page says, with what is the operator's.
    support.compose_secrets(folder)
    secrets = folder / "secrets"
    (secrets / "access-key-id").write_text("ak-1\n")
    (secrets / "access-key-password").write_text("sk-1\n")
    (folder / "jwks.json").write_text(world.jwks)
    config = (folder / "zengate.toml").read_text()
    config = config.replace("discovery = true", 'jwks_file = "jwks.json"').replace('["RS256"]', '["ES256"]')
    config = config.replace("[upstream]\n", f'[upstream]\nurl = "{world.url}"\n')
    (folder / "zengate.toml").write_text(config)
    postgres_port, redis_port = free_port(), free_port()
    password = (secrets / "postgres-password").read_text()
    url = (secrets / "postgres-url").read_text()
    assert url == f"postgres://zengate:{password}@127.0.0.1/zengate\n", url
    (secrets / "postgres-url").write_text(f"postgres://zengate:{password}@127.0.0.1:{postgres_port}/postgres\n")
    assert (secrets / "redis-url").read_text() == "redis://127.0.0.1\n"
    (secrets / "redis-url").write_text(f"redis://127.0.0.1:{redis_port}\n")

    programs = good(run("sh", ROOT / "tests/tools/postgres_bin.sh"))
    keeper = ["sh", ROOT / "tests/support/postgres.sh", programs, postgres_port, password]
    server = subprocess.Popen(list(map(str, keeper)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    (folder / "redis").mkdir()
    redis = [*services["redis"]["command"], "--port", str(redis_port), "--dir", str(folder / "redis")]
    with ending(subprocess.Popen(redis, stdout=subprocess.DEVNULL)):
        try:
            server.stdin.write("start\n")
            server.stdin.flush()
            assert server.stdout.readline() == "done\n"
            mounts = [f"{folder}/{volume.removeprefix('./')}" for volume in services["zengate"]["volumes"]]
            mounts.append(f"{folder}/jwks.json:/etc/zengate/jwks.json:ro")
            owned(folder / "policies", 0o440)
            container = Container("zengate-verify-compose", mounts, {}, [free_port(), free_port()])
            world.is_reset_through(container.address, "ins-3")
            kept = good(run("redis-cli", "-p", redis_port, "--scan", "--pattern", "zengate:*"))
            assert "zengate:{payments}" in kept, kept
            assert container.stopped() == 0, container.log()
            good(podman("rm", container.name))
        finally:
            server.stdin.close()
            server.wait(60)
    saw("the compose file's gateway and Redis, a PostgreSQL of the tests", "201, quotas in Redis, exit 0")


def unit(world):
    """Its commands, as its user, and what systemd thinks of it."""
    folder = fresh("unit")
    name = good(podman("create", IMAGE))
    good(podman("cp", f"{name}:/usr/local/bin/zengate", folder / "zengate"))
    good(podman("rm", name))
    text = (ROOT / "examples/systemd/zengate.service").read_text()
    (folder / "zengate.service").write_text(text.replace("/usr/local/bin/zengate", str(folder / "zengate")))
    output = run("systemd-analyze", "verify", folder / "zengate.service")
    assert (output.returncode, output.stderr) == (0, ""), output
    security = good(run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", folder / "zengate.service"))
    saw("systemd-analyze security", re.search(r"Overall exposure level.*: ([\d.]+ \w+)", security)[1])
    service = dict(re.findall(r"^(\w+)=(.*)$", text, re.M))
    etc = folder / "etc"
    shutil.copytree(ROOT / "policies", etc / "policies")
    (etc / "corp.json").write_text(world.jwks)
    (etc / "key").write_text("sk-1")
    listen = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    (etc / "zengate.toml").write_text(
        f'[server]\nlisten = "{listen[0]}"\n[operations]\nlisten = "{listen[1]}"\n'
        f'[issuers.corp]\nissuer = "{world.ISSUER}"\nalgorithms = ["ES256"]\njwks_file = "corp.json"\nmay_assert_teams = ["payments"]\n'
        f'[upstream]\nurl = "{world.url}"\naccess_key_id = "ak-1"\naccess_key_password_file = "key"\n'
        f'[audit]\npath = "{folder}/state/zengate.db"\n'
    )
    (folder / "state").mkdir()
    owned(folder, 0o440)
    (folder / "zengate").chmod(0o555)
    drop = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    started = [*drop, str(folder / "zengate"), *service["ExecStart"].split()[1:]]
    log = folder / "log"
    with log.open("w") as file, ending(subprocess.Popen(started, cwd=etc, stdout=file)) as process:
        until("it is ready", lambda: run(folder / "zengate", "healthcheck", cwd=etc).returncode == 0)
        world.is_reset_through(listen[0], "ins-4")
        reload = service["ExecReload"].replace("$MAINPID", str(process.pid)).split()
        good(run(*reload))
        until("it has read the policies again", lambda: "read again and unchanged" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(int(service["TimeoutStopSec"])) == 0
    assert process.wait() == 0
    # Whoever restarts it does not when this is the answer.
    (etc / "zengate.toml").chmod(0o600)
    (etc / "zengate.toml").write_text("")
    assert run(*started, cwd=etc).returncode == int(service["RestartPreventExitStatus"])
    saw("the unit's commands", "201, reloaded, exit 0; 78 for a bad configuration")


def scan():
    """No finding of the scanner without a reason above, and no reason without a finding."""
    folder = fresh("scan")
    shutil.copy(ROOT / "Dockerfile", folder)
    for row in ["sqlite", "closed", "replicas"]:
        values = support.CHART / f"ci/{row}-values.yaml"
        # What an operator adds is not the chart's.
        bare = ["--set-json", "extraContainers=[]", "--set-json", "extraInitContainers=[]"]
        (folder / f"{row}.yaml").write_text(good(support.template("--values", values, *bare)))
    output = run(OUT / "checkov/bin/checkov", "--directory", folder, "--framework", "kubernetes", "dockerfile",
                 "--skip-download", "--quiet", "--compact", "--output", "json")
    found, passed = set(), 0
    for report in json.loads(output.stdout):
        passed += report["summary"]["passed"]
        for check in report["results"]["failed_checks"]:
            found.add((check["check_id"], re.split(r"[.]", check["resource"].rsplit("/", 1)[-1].removeprefix("Dockerfile."))[0]))
    assert passed > 300, passed
    assert found == set(EXPLAINED), f"not explained: {found - set(EXPLAINED)}; not found: {set(EXPLAINED) - found}"
    saw("checkov 3.3.30", f"{passed} checks passed, {len(found)} findings, each with its reason in tests/chart/verify.py")


def main():
    tools = {"buildah": "--version", "podman": "--version", "runc": "--version", "systemd-analyze": "--version"}
    saw("tools", ", ".join(good(run(tool, flag)).splitlines()[0] for tool, flag in tools.items()))
    if seconds := os.environ.get("ZENGATE_VERIFY_BUILD_SECONDS"):
        saw("build", f"{seconds} s")
    scan()
    image()
    world = World(fresh("world"))
    try:
        with world.running():
            chart(world)
            compose(world)
            unit(world)
    finally:
        podman("rm", "--all", "--force", "--time", "0")
    (OUT / "report.md").write_text("| | |\n|---|---|\n" + "".join(f"| {a} | {b} |\n" for a, b in SEEN))


if __name__ == "__main__":
    main()
