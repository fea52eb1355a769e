"""Fields of the custom resources that the chart makes, from their documented APIs: those that kubernetes-validate knows
nothing of. monitoring.coreos.com/v1: the API reference of prometheus-operator; gateway.networking.k8s.io/v1: the
specification of the Gateway API. Objects of which the chart sets nothing are left open."""

import jsonschema


def fields(required="", **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def several(item):
    return {"type": "array", "minItems": 1, "items": item}


def free(names, kind=None):
    return {name: {"type": kind} if kind else {} for name in names.split()}


TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
DURATION = {"type": "string", "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}

SELECTOR = fields(matchLabels=TEXTS, matchExpressions={"type": "array"})
NAMESPACES = fields(any={"type": "boolean"}, matchNames={"type": "array", "items": TEXT})

SCRAPED = dict(
    **free("port path", "string"),
    interval=DURATION,
    scrapeTimeout=DURATION,
    scheme={"enum": ["http", "https", "HTTP", "HTTPS"]},
    **free("honorLabels honorTimestamps trackTimestampsStaleness followRedirects enableHttp2 filterRunning", "boolean"),
    **free("targetPort params tlsConfig bearerTokenSecret authorization basicAuth oauth2"),
    **free("metricRelabelings relabelings", "array"),
    **free("proxyUrl noProxy proxyFromEnvironment proxyConnectHeader"),
)
MONITORED = dict(
    jobLabel=TEXT,
    podTargetLabels={"type": "array", "items": TEXT},
    selector=SELECTOR,
    namespaceSelector=NAMESPACES,
    **free("sampleLimit targetLimit labelLimit labelNameLengthLimit labelValueLengthLimit keepDroppedTargets", "integer"),
    **free("selectorMechanism scrapeProtocols fallbackScrapeProtocol scrapeClass bodySizeLimit attachMetadata"),
    **free("scrapeClassicHistograms nativeHistogramBucketLimit nativeHistogramMinBucketFactor"),
    **free("convertClassicHistogramsToNHCB scrapeNativeHistograms"),
)

SPECS = {
    "monitoring.coreos.com/v1 ServiceMonitor": fields(
        "selector endpoints",
        **MONITORED,
        targetLabels={"type": "array", "items": TEXT},
        serviceDiscoveryRole=TEXT,
        endpoints=several(fields(**SCRAPED, bearerTokenFile=TEXT)),
    ),
    "monitoring.coreos.com/v1 PodMonitor": fields(
        "selector podMetricsEndpoints",
        **MONITORED,
        podMetricsEndpoints=several(fields(**SCRAPED, portNumber=PORT)),
    ),
    "monitoring.coreos.com/v1 PrometheusRule": fields(
        "groups",
        groups=several(
            fields(
                "name rules",
                name=TEXT,
                labels=TEXTS,
                interval=DURATION,
                query_offset=DURATION,
                limit={"type": "integer"},
                partial_response_strategy={"type": "string", "pattern": "^([Aa]bort|[Ww]arn)?$"},
                rules=several(
                    {
                        **fields(
                            "expr",
                            record=TEXT,
                            alert=TEXT,
                            expr={"type": ["string", "integer"]},
                            **{"for": DURATION},
                            keep_firing_for=DURATION,
                            labels=TEXTS,
                            annotations=TEXTS,
                        ),
                        "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
                    }
                ),
            )
        ),
    ),
    "gateway.networking.k8s.io/v1 HTTPRoute": fields(
        parentRefs=several(
            fields("name", group=TEXT, kind=TEXT, namespace=TEXT, name=TEXT, sectionName=TEXT, port=PORT)
        ),
        hostnames=several({"type": "string", "pattern": "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}),
        rules=several(
            fields(
                name=TEXT,
                **free("matches filters", "array"),
                **free("timeouts retry sessionPersistence", "object"),
                backendRefs=several(
                    fields(
                        "name port",
                        group=TEXT,
                        kind=TEXT,
                        namespace=TEXT,
                        name=TEXT,
                        port=PORT,
                        weight={"type": "integer"},
                        filters={"type": "array"},
                    )
                ),
            )
        ),
    ),
}


def known(manifest):
    return name(manifest) in SPECS


def name(manifest):
    return f"{manifest['apiVersion']} {manifest['kind']}"


def faults(manifest):
    """What is wrong with it, a line each."""
    top = sorted(manifest.keys() - {"apiVersion", "kind", "metadata", "spec"})
    found = [f"{key}: is not known" for key in top]
    for error in jsonschema.Draft202012Validator(SPECS[name(manifest)]).iter_errors(manifest["spec"]):
        found.append(f"spec.{'.'.join(map(str, error.path))}: {error.message}")
    return found
