"""The chart, rendered by the real Helm over the values in helm/zengate/ci."""

import json
import os
import pathlib
import re
import sys
import tempfile
import tomllib
import unittest

import crds
import kubernetes_validate
import readme
import support
import yaml
from support import CHART, ROOT, container, helm, of, one, pod, rendered, rows, run, settings, template

# The oldest that Chart.yaml allows, and the newest that there are schemas of.
VERSIONS = ["1.27", "1.37"]
# Volumes of images are there from 1.31 on.
SINCE = {"volume-values.yaml": "1.31"}

SMALLEST = str(CHART / "ci/sqlite-values.yaml")
REPLICAS = str(CHART / "ci/replicas-values.yaml")


def every(manifests, kind):
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests):
    return [pod(manifests)] + every(manifests, "Pod")


def selects(selector, manifest_or_template):
    return selector.items() <= manifest_or_template["metadata"]["labels"].items()


def values_of_images():
    """(kind, name) to what the operator of each row has made."""
    certificate, key = support.tls_pair()
    policies = {
        f"current/policies/{path.relative_to(ROOT / 'policies')}": path.read_text()
        for path in (ROOT / "policies").rglob("*")
        if path.is_file()
    }
    issuer = "issuer = 'x'\nalgorithms = ['ES256']\njwks_url = 'https://x.example/keys'\nmay_assert_teams = ['*']"
    return {
        ("Secret", "zengate-access-key"): {
            "access-key-id": "ak-1\n",
            "access-key-password": "sk-1\n",
            "previous-id": "ak-0",
            "previous-password": "sk-0",
        },
        ("Secret", "zengate-postgres"): {
            "url": "postgres://zengate:secret@db.example.com/zengate?sslmode=verify-full\n",
            "ca.crt": certificate,
        },
        ("Secret", "zengate-redis"): {"url": "rediss://:secret@redis.example.com\n", "ca.crt": certificate},
        ("Secret", "zengate-keys"): {
            "signing-key.pem": support.signing_key(),
            "idempotency-key": "k" * 64,
            "previous-idempotency-key": "p" * 64,
        },
        ("Secret", "zengate-tls"): {"tls.crt": certificate, "tls.key": key},
        ("Secret", "zengate-lab"): {"hmac": "h" * 32},
        ("ConfigMap", "policies-of-payments"): {
            "payments.cedar": (ROOT / "policies/teams/payments.cedar").read_text(),
            "limits.toml": "[teams.payments]\ninstance_cooldown_seconds = 5\n",
        },
        ("ConfigMap", "policies-of-web"): {"web.cedar": (ROOT / "policies/teams/web.cedar").read_text()},
        ("ConfigMap", "our-zengate"): {"gate.toml": f"[issuers.x]\n{issuer}\n[upstream]\naccess_key_id = 'ak-1'\n"},
        ("Volume", "policies"): policies,
    }


class Manifests(unittest.TestCase):
    def test_lint_finds_nothing(self):
        self.assertGreaterEqual(len(rows()), 4)
        for row in rows():
            with self.subTest(row.name):
                output = helm("lint", "--strict", CHART, "--values", row)
                self.assertEqual(output.returncode, 0, output.stdout + output.stderr)

    def test_every_manifest_is_as_kubernetes_wants_it(self):
        seen = set()
        for row in rows():
            for manifest in of(row):
                seen.add(manifest["kind"])
                with self.subTest(row.name, kind=manifest["kind"]):
                    if crds.known(manifest):
                        self.assertEqual(crds.faults(manifest), [])
                        continue
                    for version in VERSIONS:
                        kubernetes_validate.validate(manifest, max(version, SINCE.get(row.name, "")), strict=True)
        wanted = """ConfigMap Deployment HTTPRoute HorizontalPodAutoscaler Ingress NetworkPolicy
            PersistentVolumeClaim Pod PodDisruptionBudget PodMonitor PrometheusRule Service ServiceAccount
            ServiceMonitor"""
        self.assertEqual(seen, set(wanted.split()))

    def test_no_secret_is_made_and_none_is_a_value(self):
        for row in rows():
            self.assertEqual(every(of(row), "Secret"), [])
            for name in settings(of(row)):
                self.assertFalse(re.search("PASSWORD$|_URL$|SECRET$", name), name)

    def test_every_pod_is_restricted(self):
        for row in rows():
            for each in pods(of(row)):
                spec = each["spec"]
                with self.subTest(row.name):
                    self.assertEqual((spec["automountServiceAccountToken"], spec["enableServiceLinks"]), (False, False))
                    security = spec["securityContext"]
                    self.assertTrue(security["runAsNonRoot"] and security["runAsUser"] > 0)
                    self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
                    for inner in spec["containers"][: 1 if each is pod(of(row)) else None]:
                        wanted = {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        }
                        self.assertEqual(inner["securityContext"], wanted)
                        self.assertTrue(inner["resources"]["limits"] and inner["resources"]["requests"])

    def test_what_refers_to_another_object_finds_it(self):
        for row in rows():
            manifests = of(row)
            template = pod(manifests)
            ports = {port["name"]: port["containerPort"] for port in container(manifests)["ports"]}
            services = {m["metadata"]["name"]: m for m in every(manifests, "Service")}
            with self.subTest(row.name):
                deployment = one(manifests, "Deployment")
                self.assertTrue(selects(deployment["spec"]["selector"]["matchLabels"], template))
                for service in services.values():
                    self.assertTrue(selects(service["spec"]["selector"], template))
                    self.assertFalse(any(selects(service["spec"]["selector"], p) for p in every(manifests, "Pod")))
                    for port in service["spec"]["ports"]:
                        self.assertIn(port["targetPort"], ports)
                mounts = [mount["name"] for mount in container(manifests)["volumeMounts"]]
                self.assertEqual(sorted(mounts), sorted(volume["name"] for volume in template["spec"]["volumes"]))
                for kind in ["PodDisruptionBudget", "NetworkPolicy"]:
                    for manifest in every(manifests, kind):
                        spec = manifest["spec"]
                        selector = spec.get("selector", spec.get("podSelector"))["matchLabels"]
                        self.assertTrue(selects(selector, template), kind)
                for scaler in every(manifests, "HorizontalPodAutoscaler"):
                    self.assertEqual(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"])
                    self.assertNotIn("replicas", deployment["spec"])
                for monitor in every(manifests, "ServiceMonitor"):
                    found = [s for s in services.values() if selects(monitor["spec"]["selector"]["matchLabels"], s)]
                    (service,) = found
                    self.assertEqual([p["name"] for p in service["spec"]["ports"]], ["operations"])
                for monitor in every(manifests, "PodMonitor"):
                    self.assertTrue(selects(monitor["spec"]["selector"]["matchLabels"], template))
                    self.assertIn(monitor["spec"]["podMetricsEndpoints"][0]["port"], ports)
                for route in every(manifests, "HTTPRoute"):
                    for backend in route["spec"]["rules"][0]["backendRefs"]:
                        self.assertIn(backend["port"], [p["port"] for p in services[backend["name"]]["spec"]["ports"]])
                for ingress in every(manifests, "Ingress"):
                    for rule in ingress["spec"]["rules"]:
                        backend = rule["http"]["paths"][0]["backend"]["service"]
                        open_ports = [p["port"] for p in services[backend["name"]]["spec"]["ports"]]
                        self.assertIn(backend["port"]["number"], open_ports)
                for claim in [v["persistentVolumeClaim"] for v in template["spec"]["volumes"] if "persistentVolumeClaim" in v]:
                    one(manifests, "PersistentVolumeClaim", claim["claimName"])
                account = template["spec"]["serviceAccountName"]
                made = [m["metadata"]["name"] for m in every(manifests, "ServiceAccount")]
                self.assertEqual(made, [] if account == "ours" else [account])

    def test_the_test_pod_asks_through_both_services_and_may(self):
        for row in rows():
            manifests = of(row)
            services = {m["metadata"]["name"]: m for m in every(manifests, "Service")}
            asked = [inner["args"][-1] for inner in one(manifests, "Pod", "-test")["spec"]["containers"]]
            tls = "ZENGATE__SERVER__TLS__KEY_FILE" in settings(manifests)
            self.assertEqual(len(asked), 1 if tls else 2)
            for url in asked:
                host, port = re.fullmatch(r"http://([^:/]+):(\d+)/[a-z.]+", url).groups()
                self.assertIn(int(port), [p["port"] for p in services[host]["spec"]["ports"]])
            for policy in every(manifests, "NetworkPolicy"):
                for rule in policy["spec"]["ingress"][:2]:
                    peers = [p["podSelector"]["matchLabels"] for p in rule.get("from", []) if "podSelector" in p]
                    allowed = [selects(labels, one(manifests, "Pod", "-test")) for labels in peers]
                    self.assertTrue("from" not in rule or any(allowed))

    def test_names_fit_however_long_the_release_is(self):
        for manifest in rendered("--values", REPLICAS, release="r" * 53):
            self.assertLessEqual(len(manifest["metadata"]["name"]), 63)
            for label in manifest["metadata"]["labels"].values():
                self.assertLessEqual(len(label), 63)

    def test_a_stop_is_given_the_time_it_takes(self):
        for row in rows():
            drain, shutdown = (int(settings(of(row))[f"ZENGATE__SERVER__{name}_SECONDS"]) for name in ["DRAIN", "SHUTDOWN"])
            # docs/runbook.md, Stopping: drain_seconds, shutdown_seconds and 10 s.
            self.assertGreater(pod(of(row))["spec"]["terminationGracePeriodSeconds"], drain + shutdown + 10)

    def test_a_file_has_one_writer_and_replicas_leave_none_away(self):
        for row in rows():
            spec, environment = one(of(row), "Deployment")["spec"], settings(of(row))
            with self.subTest(row.name):
                if environment["ZENGATE__AUDIT__STORE"] == "sqlite":
                    (trail,) = [m for m in container(of(row))["volumeMounts"] if m["name"] == "trail"]
                    self.assertEqual(environment["ZENGATE__AUDIT__PATH"], f"{trail['mountPath']}/zengate.db")
                    self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))
                    self.assertEqual(every(of(row), "PodDisruptionBudget"), [])
                else:
                    self.assertEqual(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0)

    def test_the_limiter_knows_the_most_replicas(self):
        self.assertEqual(settings(of(REPLICAS))["ZENGATE__LIMITS__REPLICAS"], "5")
        self.assertEqual(one(of(REPLICAS), "HorizontalPodAutoscaler")["spec"]["maxReplicas"], 5)
        closed = settings(of(CHART / "ci/closed-values.yaml"))
        self.assertEqual((closed["ZENGATE__LIMITS__ON_REDIS_LOSS"], closed["ZENGATE__LIMITS__REPLICAS"]), ("closed", "3"))
        self.assertNotIn("ZENGATE__LIMITS__REPLICAS", settings(of(SMALLEST)))

    def test_pods_are_replaced_when_settings_change_and_not_for_policies(self):
        def sum_of(*arguments):
            return pod(rendered("--values", SMALLEST, *arguments))["metadata"]["annotations"]["checksum/config"]

        self.assertEqual(sum_of(), sum_of("--set", "policies.files.teams/web\\.cedar=//"))
        self.assertNotEqual(sum_of(), sum_of("--set", "config.telemetry.log=debug"))
        self.assertNotEqual(sum_of(), sum_of("--set", "files.a=b"))

    def test_all_policy_files_are_one_volume(self):
        for row in rows():
            mounts = [m for m in container(of(row))["volumeMounts"] if m["mountPath"].startswith("/etc/zengate/policies")]
            self.assertEqual([(m["mountPath"], "subPath" in m) for m in mounts], [("/etc/zengate/policies", False)])


class Configuration(unittest.TestCase):
    def test_zengate_accepts_what_is_rendered(self):
        outside = values_of_images()
        for row in rows():
            with self.subTest(row.name), tempfile.TemporaryDirectory() as folder:
                output = support.Pod(of(row), folder, outside).zengate("check")
                self.assertEqual(output.returncode, 0, output.stdout + output.stderr)
                self.assertIn("good; issuers: ", output.stdout)

    def test_it_says_what_the_values_say(self):
        with tempfile.TemporaryDirectory() as folder:
            seen = support.Pod(of(REPLICAS), folder, values_of_images())
            output = seen.zengate("check", "--show")
            self.assertEqual(output.returncode, 0, output.stderr)
            shown = tomllib.loads(output.stdout)
            written = yaml.safe_load(pathlib.Path(REPLICAS).read_text())["config"]
            self.assertEqual(shown["issuers"]["corp"]["team_names"], written["issuers"]["corp"]["team_names"])
            self.assertEqual(shown["limits"]["failed_authentications"], written["limits"]["failed_authentications"])
            self.assertEqual(shown["server"]["trusted_proxies"], ["10.0.0.0/8"])
            self.assertEqual((shown["limits"]["replicas"], shown["limits"]["on_redis_loss"]), (5, "local"))
            self.assertEqual(shown["server"]["listen"], "0.0.0.0:8080")
            # Each file of the operator's is in force, and the rest is the chart's.
            policies = seen.folder / "etc/zengate/policies"
            self.assertIn("friday", (policies / "global.cedar").read_text())
            self.assertIn("instance_cooldown_seconds = 5", (policies / "limits.toml").read_text())
            files = sorted(str(path.relative_to(policies)) for path in policies.rglob("*") if path.is_file())
            wanted = ["blocks.toml", "global.cedar", "limits.toml", "schema.cedarschema"]
            self.assertEqual(files, wanted + ["teams/payments.cedar", "teams/web.cedar"])

    def test_texts_survive(self):
        ugly = 'a "quoted" \\ back\tslash, <tag> & ümlaut 🦀\nline'
        values = json.dumps({"config": {"tickets": {"pattern": ugly}}}, ensure_ascii=False)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(values)
            file.flush()
            text = one(rendered("--values", SMALLEST, "--values", file.name), "ConfigMap", "-zengate")
        self.assertEqual(tomllib.loads(text["data"]["zengate.toml"])["tickets"]["pattern"], ugly)


class Refusals(unittest.TestCase):
    def refused(self, *sets, values=SMALLEST):
        arguments = [word for setting in sets for word in ["--set-json", setting]]
        output = template("--values", values, *arguments)
        self.assertNotEqual(output.returncode, 0, f"{sets} was rendered")
        return output.stderr

    def test_what_cannot_work_is_refused_with_what_to_do(self):
        postgres = 'audit.store="postgres"'
        for sets, sentence in [
            (['image.repository=""'], "image.repository is empty: name where the image was pushed to (registry.example.com/zengate)."),
            (["config.issuers={}"], "config.issuers is empty, so nobody could call: name at least one issuer of tokens (docs/identity.md), or give existingConfigMap.name."),
            (['existingConfigMap.name="ours"'], "existingConfigMap.name and config or files are both given: leave one of them out."),
            (['secrets.accessKey.secretName=""'], "secrets.accessKey.secretName is empty: make a Secret with Zenlayer's access key and name it."),
            (['secrets.accessKey.idKey=""'], "secrets.accessKey.idKey is empty: then config.upstream.access_key_id must say the access key's id."),
            (['config.upstream.access_key_id="ak"'], "config.upstream.access_key_id and secrets.accessKey.idKey both say the access key's id: set idKey to \"\", or leave access_key_id out."),
            (["replicas=2"], "replicas or autoscaling asks for several replicas, and a trail in SQLite has one writer: set audit.store to postgres, or run one replica."),
            (["autoscaling.enabled=true"], "replicas or autoscaling asks for several replicas, and a trail in SQLite has one writer: set audit.store to postgres, or run one replica."),
            (["replicas=2"], "replicas or autoscaling asks for several replicas, and each would count quotas of its own: set limits.store to redis, or run one replica."),
            (["autoscaling.enabled=true", "autoscaling.minReplicas=7"], "autoscaling.minReplicas is above autoscaling.maxReplicas: raise the one or lower the other."),
            ([postgres], "audit.store is postgres and secrets.postgres.secretName is empty: make a Secret with the URL of the database and name it."),
            ([postgres], "audit.store is postgres and secrets.signingKey.secretName is empty: make a Secret with the key that signs checkpoints and name it."),
            ([postgres], "audit.store is postgres and secrets.idempotencyKey.secretName is empty: make a Secret with the idempotency key and name it."),
            ([postgres, "audit.ephemeral=true"], "audit.ephemeral is for audit.store sqlite: leave it out."),
            (["audit.ephemeral=true", 'audit.persistence.existingClaim="a"'], "audit.ephemeral and audit.persistence.existingClaim are both given: leave one of them out."),
            (['limits.store="redis"'], "limits.store is redis and secrets.redis.secretName is empty: make a Secret with the URL of the Redis and name it."),
            (['policies.volume={"emptyDir":{}}'], "policies.volume is the whole folder: leave policies.files and policies.configMaps out, or put those files into the volume."),
            (['policies.volumeDir="a"'], "policies.volumeDir is a folder inside policies.volume, which is empty: give the volume, or leave volumeDir out."),
            (["ingress.enabled=true"], "ingress.hosts is empty: name at least one host, or set ingress.enabled to false."),
            (["httpRoute.enabled=true"], "httpRoute.parentRefs is empty: name the Gateway, or set httpRoute.enabled to false."),
            (['config.audit.path="a"'], "config.audit.path is for the chart to say: leave it out (the trail is in /var/lib/zengate)."),
            (['config.limits.replicas=3'], "config.limits.replicas is for the chart to say: leave it out (it follows replicas and autoscaling.maxReplicas)."),
        ]:
            with self.subTest(sentence):
                self.assertIn(f"\n{sentence}\n", self.refused(*sets) + "\n")

    def test_policies_without_a_team_are_refused(self):
        told = self.refused("policies.configMaps=[]", values=CHART / "ci/closed-values.yaml")
        sentence = "policies.files and policies.configMaps have no file teams/TEAM.cedar, so nobody could do anything:"
        self.assertIn(f"\n{sentence} give at least one team its policies (docs/policies.md).\n", told)

    def test_all_that_is_wrong_is_told_at_once(self):
        output = template()
        for start in ["image.repository is empty", "config.issuers is empty", "policies.files and", "secrets.accessKey.secretName is empty"]:
            self.assertIn(f"\n{start}", output.stderr)

    def test_a_setting_of_the_charts_is_not_taken_from_the_file(self):
        """All that the Deployment sets goes before the file, so in the file it would be without effect."""
        told = self.refused('config={"issuers":{"a":{}},"server":{"listen":"","drain_seconds":1,"shutdown_seconds":1,"tls":{}},"operations":{"listen":""},'
            '"policies":{"dir":""},"audit":{"store":"","path":"","url_file":"","signing_key_file":""},'
            '"idempotency":{"key_file":"","previous_key_file":""},"limits":{"store":"","on_redis_loss":"","replicas":1,'
            '"redis_url_file":"","redis_ca_file":""},"upstream":{"access_key_id_file":"","access_key_password_file":"",'
            '"previous_access_key_id_file":"","previous_access_key_password_file":""}}')
        for row in rows():
            for name in settings(of(row)):
                path = name.removeprefix("ZENGATE__").lower().split("__")
                if path[0] == "telemetry":
                    continue  # From extraEnv.
                self.assertIn(f"config.{'.'.join(path[:2])} is for the chart to say", told)

    def test_a_value_that_is_unknown_or_of_another_kind_is_refused(self):
        for setting, told in [
            ("replica=2", "additional properties 'replica' not allowed"),
            ('image.sha="x"', "additional properties 'sha' not allowed"),
            ("replicas=0", "/replicas"),
            ('replicas="two"', "/replicas"),
            ('audit.store="mysql"', "/audit/store"),
            ('audit.persistence.accessModes=["ReadWriteMany"]', "/audit/persistence/accessModes"),
            ('policies.files={"teams/Up.cedar":""}', "teams/Up.cedar"),
            ('policies.configMaps=[{"name":"a","items":[{"key":"a","path":"../a"}]}]', "/policies/configMaps"),
            ('config={"listen":"x"}', "/config/listen"),
            ("policies.files=null", "missing property 'files'"),
            ('monitoring.monitor="both"', "/monitoring/monitor"),
        ]:
            with self.subTest(setting):
                stderr = self.refused(setting)
                self.assertIn("don't meet the specifications of the schema", stderr)
                self.assertIn(told, stderr)

    def test_an_older_kubernetes_is_refused(self):
        output = template("--values", SMALLEST, "--kube-version", "1.26.0")
        self.assertIn("incompatible with Kubernetes", output.stderr)


class Files(unittest.TestCase):
    def test_rules_and_dashboard_are_taken_word_for_word(self):
        rules = (CHART / "files/zengate.rules.yaml").read_text()
        self.assertEqual(one(of(REPLICAS), "PrometheusRule")["spec"], yaml.safe_load(rules))
        dashboard = one(of(REPLICAS), "ConfigMap", "-dashboard")["data"]["zengate.json"]
        source = (CHART / "files/zengate.dashboard.json").read_text()
        self.assertEqual(dashboard.rstrip("\n"), source.rstrip("\n"))
        json.loads(dashboard)
        promtool = os.environ.get("ZENGATE_TEST_PROMTOOL", "promtool")
        output = run(promtool, "check", "rules", CHART / "files/zengate.rules.yaml")
        self.assertEqual(output.returncode, 0, output.stdout + output.stderr)

    def test_policies_of_the_chart_are_those_of_the_project(self):
        for name in ["schema.cedarschema", "global.cedar", "blocks.toml"]:
            self.assertEqual((CHART / "files/policies" / name).read_text(), (ROOT / "policies" / name).read_text())
        shipped = tomllib.loads((ROOT / "policies/limits.toml").read_text())["default"]
        self.assertEqual(tomllib.loads((CHART / "files/policies/limits.toml").read_text()), {"default": shipped})

    def test_values_on_the_page_can_be_rendered(self):
        page = (ROOT / "docs/deployment.md").read_text()
        blocks = [yaml.safe_load(text) for text in re.findall(r"^ *```yaml\n(.*?)^ *```", page, re.S | re.M)]
        first, *others = blocks
        self.assertIn("image", first)
        self.assertGreaterEqual(len(others), 3)
        base = {key: value for key, value in first.items() if key != "policies"}
        payments = {"policies": first["policies"]}
        with tempfile.TemporaryDirectory() as folder:
            for number, block in enumerate([first, *others]):
                files = [pathlib.Path(folder) / f"{number}-{part}.json" for part in "ab"]
                files[0].write_text(json.dumps(base))
                files[1].write_text(json.dumps(block if "policies" in block else payments | block))
                output = template("--values", files[0], "--values", files[1])
                self.assertEqual(output.returncode, 0, f"{block}\n{output.stderr}")
                for manifest in filter(None, yaml.safe_load_all(output.stdout)):
                    kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)

    def test_every_value_is_documented_and_in_the_schema(self):
        self.assertEqual((CHART / "README.md").read_text(), readme.page(), "run `make chart-readme`")
        documented = {path for path, _ in readme.documented((CHART / "values.yaml").read_text())}

        def paths(schema, path=()):
            properties = schema.get("properties")
            return {p for key, inner in properties.items() for p in paths(inner, (*path, key))} if properties else {path}

        schema = paths(json.loads((CHART / "values.schema.json").read_text()))
        covered = {path for path in schema if any(path[: len(d)] == d for d in documented)}
        self.assertEqual(schema - covered, {("global",)})
        self.assertEqual({d for d in documented if not any(p[: len(d)] == d for p in schema)}, set())

    def test_versions_are_one(self):
        cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertEqual((chart["version"], chart["appVersion"]), (cargo["version"], cargo["version"]))
        self.assertIn(f"ARG VERSION={cargo['version']}\n", dockerfile)
        self.assertIn(f"/rust:{cargo['rust-version']}-slim-bookworm\n", dockerfile)

    def test_the_dockerfile_is_clean(self):
        hadolint = pathlib.Path(sys.executable).with_name("hadolint")
        output = run(hadolint, "--no-color", ROOT / "Dockerfile")
        self.assertEqual((output.returncode, output.stdout), (0, ""), output.stderr)


if __name__ == "__main__":
    unittest.main()
