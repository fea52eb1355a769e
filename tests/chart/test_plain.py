"""The compose file and the systemd unit: examples/."""

import pathlib
import re
import shutil
import tempfile
import tomllib
import unittest

import support
import yaml
from support import ROOT, ZENGATE, run

# docs/runbook.md, Stopping: server.drain_seconds and server.shutdown_seconds by default, and 10 s.
LONGEST_STOP = 45


class Compose(unittest.TestCase):
    def setUp(self):
        self.file = yaml.safe_load((ROOT / "examples/compose/compose.yaml").read_text())
        self.services = self.file["services"]

    def test_zengate_accepts_its_configuration_with_the_secrets_of_the_page(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            shutil.copy(ROOT / "examples/compose/zengate.toml", folder)
            # Nobody else's user is here to be given the files.
            support.compose_secrets(folder, chown=False)
            for name in ["access-key-id", "access-key-password"]:
                (folder / "secrets" / name).chmod(0o600)
                (folder / "secrets" / name).write_text("x\n")
            output = run(ZENGATE, "check", cwd=folder, env={})
            self.assertEqual(output.returncode, 0, output.stderr)
            for secret in self.file["secrets"].values():
                self.assertTrue((folder / secret["file"]).read_text())

    def test_the_gateway_is_nobody_and_its_stop_is_given_time(self):
        gateway = self.services["zengate"]
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        self.assertEqual(gateway["image"], f"zengate:{version}")
        self.assertEqual((gateway["read_only"], gateway["cap_drop"]), (True, ["ALL"]))
        self.assertEqual(gateway["security_opt"], ["no-new-privileges:true"])
        self.assertTrue(all(volume.endswith(":ro") for volume in gateway["volumes"]))
        self.assertGreater(int(gateway["stop_grace_period"].removesuffix("s")), LONGEST_STOP)

    def test_nothing_but_loopback_is_listened_on(self):
        """Redis and PostgreSQL ask for no TLS there, and so nobody else may reach them."""
        ports = [port for service in self.services.values() for port in service.get("ports", [])]
        self.assertEqual(ports, ["127.0.0.1:8080:8080", "127.0.0.1:9464:9464"])
        for name in ["redis", "zengate"]:
            self.assertEqual(self.services[name]["network_mode"], "service:postgres")
        self.assertIn("listen_addresses=127.0.0.1", self.services["postgres"]["command"])
        redis = self.services["redis"]["command"]
        self.assertEqual(redis[redis.index("--bind") + 1], "127.0.0.1")
        self.assertEqual(redis[redis.index("--maxmemory-policy") + 1], "noeviction")


class Unit(unittest.TestCase):
    def test_it_runs_what_there_is_and_gives_a_stop_time(self):
        unit = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "examples/systemd/zengate.service").read_text(), re.M))
        program, *arguments = unit["ExecStart"].split()
        self.assertEqual(program, "/usr/local/bin/zengate")
        self.assertEqual(run(ZENGATE, *arguments, "--help").returncode, 0)
        self.assertGreater(int(unit["TimeoutStopSec"]), LONGEST_STOP)
        with tempfile.TemporaryDirectory() as folder:
            output = run(ZENGATE, *arguments, cwd=folder)
        self.assertEqual(output.returncode, int(unit["RestartPreventExitStatus"]), "a bad configuration")
