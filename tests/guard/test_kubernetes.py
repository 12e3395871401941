"""The manifests of deploy/kubernetes are what Kubernetes takes, and speak of commands, settings,
ports and health paths that exist."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest

from streams.app.gateway import STOP_SECONDS_MAX as GATEWAY_STOP_SECONDS
from streams.app.worker import STOP_SECONDS_MAX as WORKER_STOP_SECONDS
from streams.cli.main import COMMANDS
from streams.settings import Settings, environment_name, load_settings
from streams.shipped import version
from tests.composed import image_variables
from tests.rendered import OVERLAYS, digest, kept, resources

VERSIONS: Final = ("1.30", "1.37")
"""The oldest that has what is used (a preStop pause), and the newest that the schemas know."""
FOREIGN: Final = {"PodMonitor"}
"""Kinds of the Prometheus operator, which Kubernetes' own schemas do not have."""
USER: Final = 10001
HOME: Final = image_variables()["TOLLGATE_HOME"]
PORTS: Final = {
    "TOLLGATE_METRICS_LISTEN": "metrics",
    "TOLLGATE_GATEWAY_LISTEN": "http",
    "TOLLGATE_HOP_LISTEN": "hop",
}
"""Which port of a pod each address is."""
Found = dict[str, Any]


def of_kind(overlay: str, *kinds: str) -> Iterator[Found]:
    found = [one for one in resources(overlay) if one["kind"] in kinds]
    assert found, f"{overlay} has no {kinds}"
    yield from found


WORKLOADS: Final = [
    pytest.param(overlay, one, id=f"{overlay}-{one['metadata']['name']}")
    for overlay in OVERLAYS
    for one in of_kind(overlay, "StatefulSet", "Deployment", "Job")
]
GOING: Final = [
    pytest.param(overlay, one, id=f"{overlay}-{one['metadata']['name']}")
    for overlay in OVERLAYS
    for one in of_kind(overlay, "StatefulSet", "Deployment")
]


def pod_of(workload: Found) -> Found:
    found: Found = workload["spec"]["template"]["spec"]
    return found


def containers(workload: Found) -> list[Found]:
    pod = pod_of(workload)
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(overlay: str, container: Found) -> dict[str, str]:
    """What the container's process sees, with an address of a pod where its own is asked for."""
    [settings] = of_kind(overlay, "ConfigMap")
    assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    found = dict(settings["data"])
    for one in container.get("env", []):
        found[one["name"]] = one.get("value", "10.0.0.1").replace("$(POD_IP)", "10.0.0.1")
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_kept_was_rendered_from_the_files_as_they_are(overlay: str) -> None:
    head = kept(overlay).partition("\n")[0]
    assert head.endswith(f"digest is {digest()}"), "render them again: make kubernetes"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str, version: str) -> None:
    for one in resources(overlay):
        if one["kind"] not in FOREIGN:
            kubernetes_validate.validate(one, version, strict=True)


def test_a_field_that_does_not_exist_would_be_found() -> None:
    [account] = of_kind("small", "ServiceAccount")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(account | {"automount": False}, VERSIONS[0], strict=True)


@pytest.mark.parametrize(("overlay", "workload"), WORKLOADS)
def test_a_container_runs_a_command_with_settings_that_it_accepts(
    overlay: str, workload: Found, tmp_path: Path
) -> None:
    for container in containers(workload):
        assert "command" not in container, "the image's entrypoint is ours"
        assert container["args"][0] in COMMANDS
        assert container["image"] == f"tollgate:{version()}"
        given = environment(overlay, container)
        ours = {name: value for name, value in given.items() if name.startswith("TOLLGATE_")}
        for name, value in ours.items():
            for mount in container["volumeMounts"]:
                if value.startswith(mount["mountPath"] + "/"):
                    path = tmp_path / value.lstrip("/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text("a-secret-of-at-least-32-characters", encoding="utf-8")
                    path.chmod(0o440)
                    ours[name] = str(path)
        files = {name: Path(value) for name, value in ours.items() if value.startswith("/")}
        missing = {name for name, path in files.items() if not path.is_file()}
        assert not missing, f"{container['name']} mounts nothing at these"
        settings = load_settings(environment=ours | {"TOLLGATE_HOME": str(tmp_path)})
        assert not settings.embedded_kafka
        assert not settings.embedded_clickhouse


@pytest.mark.parametrize(("overlay", "workload"), WORKLOADS)
def test_a_pod_has_no_rights_and_writes_only_to_what_it_mounts(
    overlay: str, workload: Found
) -> None:
    pod = pod_of(workload)
    assert pod["automountServiceAccountToken"] is False
    confined = pod["securityContext"]
    assert confined["runAsNonRoot"] is True
    assert {confined[f"runAs{one}"] for one in ("User", "Group")} == {confined["fsGroup"]} == {USER}
    assert confined["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(workload):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert writable == {HOME, "/tmp"}
        limits = container["resources"]["limits"]
        assert {"memory", "ephemeral-storage"} <= set(limits)
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert all(
        volume["secret"]["defaultMode"] == 0o440 for volume in pod["volumes"] if "secret" in volume
    )


@pytest.mark.parametrize(("overlay", "workload"), WORKLOADS)
def test_no_variable_of_a_service_is_taken_for_a_setting(overlay: str, workload: Found) -> None:
    # Unless it is told not to, Kubernetes sets TOLLGATE_GATEWAY_PORT for a Service of that name.
    assert pod_of(workload)["enableServiceLinks"] is False
    names = {environment_name(field) for field in Settings.model_fields}
    links = {
        f"{service['metadata']['name'].upper().replace('-', '_')}_PORT"
        for service in of_kind(overlay, "Service")
    }
    assert links - names, "the line would not be needed"


@pytest.mark.parametrize(("overlay", "workload"), GOING)
def test_probes_and_ports_are_where_the_process_listens(overlay: str, workload: Found) -> None:
    [container] = containers(workload)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    given = environment(overlay, container)
    listening = {
        PORTS[name]: int(given[name].rpartition(":")[2]) for name in PORTS if name in given
    }
    assert ports == listening
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness")}
    assert all(one == {"path": "/live", "port": "metrics"} for one in asked.values())
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "metrics"}


@pytest.mark.parametrize(("overlay", "workload"), GOING)
def test_a_pod_has_the_time_to_stop_that_its_process_may_take(
    overlay: str, workload: Found
) -> None:
    pod = pod_of(workload)
    [container] = pod["containers"]
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = {"worker": WORKER_STOP_SECONDS, "gateway": GATEWAY_STOP_SECONDS, "sink": 20.0}
    # Three times as long as it ever should take, and a busy node is still in time.
    assert pod["terminationGracePeriodSeconds"] >= before + 3 * needed[container["name"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_that_selects_pods_selects_some(overlay: str) -> None:
    pods = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in of_kind(overlay, "StatefulSet", "Deployment", "Job")
    ]
    ports = {
        port["name"]: port["containerPort"]
        for one in of_kind(overlay, "StatefulSet", "Deployment")
        for port in containers(one)[0]["ports"]
    }

    def some(selector: dict[str, str]) -> bool:
        return bool(selector) and any(selector.items() <= labels.items() for labels in pods)

    for one in of_kind(overlay, "Service"):
        assert some(one["spec"]["selector"])
        assert all(ports[port["targetPort"]] == port["port"] for port in one["spec"]["ports"])
    for one in of_kind(overlay, "PodDisruptionBudget", "StatefulSet", "Deployment"):
        assert some(one["spec"]["selector"]["matchLabels"])
    for one in of_kind(overlay, "NetworkPolicy"):
        assert some(one["spec"]["podSelector"]["matchLabels"])
        for rule in one["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= set(ports.values())
    for one in resources(overlay):
        if one["kind"] == "PodMonitor":
            assert some(one["spec"]["selector"]["matchLabels"])
            # The name by which the alerts know the job.
            assert {labels[one["spec"]["jobLabel"]] for labels in pods} == {"tollgate"}
            assert all(end["port"] in ports for end in one["spec"]["podMetricsEndpoints"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_update_takes_one_worker_at_a_time_and_no_gateway_away(overlay: str) -> None:
    [workers] = of_kind(overlay, "StatefulSet")
    spec = workers["spec"]
    assert spec["updateStrategy"]["type"] == "RollingUpdate"
    assert spec["minReadySeconds"] > Settings.model_fields["session_timeout_seconds"].default
    budgets = {one["metadata"]["name"]: one for one in of_kind(overlay, "PodDisruptionBudget")}
    going = {one["metadata"]["name"]: one for one in of_kind(overlay, "StatefulSet", "Deployment")}
    assert set(budgets) == set(going)
    assert all(one["spec"]["maxUnavailable"] == 1 for one in budgets.values())
    gateways = going["tollgate-gateway"]["spec"]["strategy"]["rollingUpdate"]
    assert gateways == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_small_overlay_runs_one_of_each() -> None:
    going = list(of_kind("small", "StatefulSet", "Deployment"))
    assert [one["spec"]["replicas"] for one in going] == [1, 1, 1]
    [settings] = of_kind("small", "ConfigMap")
    assert settings["data"]["TOLLGATE_REPLICATION_FACTOR"] == "1"


def test_the_large_overlay_speaks_to_kafka_as_one_user_for_each_role() -> None:
    users: dict[str, set[str]] = {}
    for workload in of_kind("large", "StatefulSet", "Deployment", "Job"):
        for container in containers(workload):
            given = environment("large", container)
            assert given["TOLLGATE_KAFKA_SECURITY_PROTOCOL"] == "sasl_ssl"
            assert given["TOLLGATE_REPLICATION_FACTOR"] == "3"
            assert given["TOLLGATE_CLICKHOUSE_URL"].startswith("https://")
            user = given["TOLLGATE_KAFKA_SASL_USERNAME"]
            secrets = {
                v["secret"]["secretName"] for v in pod_of(workload)["volumes"] if "secret" in v
            }
            users.setdefault(user, set()).update(one for one in secrets if "kafka" in one)
    assert users == {
        f"tollgate-{role}": {f"tollgate-kafka-{role}"}
        for role in ("worker", "gateway", "sink", "operator")
    }


def test_the_autoscaler_of_the_large_overlay_has_gateways_to_itself() -> None:
    [scaler] = of_kind("large", "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    [gateway] = [
        one for one in of_kind("large", "Deployment") if one["metadata"]["name"] == target["name"]
    ]
    assert "replicas" not in gateway["spec"]
    assert scaler["spec"]["minReplicas"] >= 2
