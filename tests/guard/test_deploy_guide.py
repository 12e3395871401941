"""docs/deploy.md: every command, service, profile, file and secret in it is one that exists."""

import re
import shlex
from typing import Any, Final

import click
import pytest

from streams.cli.main import tollgate
from tests.composed import COMPOSE, OURS, SERVICES
from tests.guard.repository import ROOT, files
from tests.rendered import OVERLAYS, resources

GUIDE: Final = (ROOT / "docs/deploy.md").read_text("utf-8")
HEAD: Final = (ROOT / "docker-compose.yml").read_text("utf-8").partition("\nname:")[0]
PROFILES: Final = {profile for one in SERVICES.values() for profile in one.get("profiles", [])}
VALUED: Final = {"--profile", "--since"}
"""Options of docker compose that are followed by a value."""


def lines() -> list[str]:
    """The commands of the guide's blocks and of the compose file's head, one line each."""
    blocks = re.findall(r"^```(?:console|sh)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    joined = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
    found = [line.removeprefix("$ ") for line in joined.splitlines()]
    found += [line[4:] for line in HEAD.splitlines() if line.startswith("#   ")]
    return [re.sub(r"\s+#.*|\s{3,}\w.*", "", line) for line in found if line.strip()]


LINES: Final = lines()


def pieces(program: str) -> list[list[str]]:
    """The words of each command of this program, the parts of a pipe apart."""
    parts = [part.strip() for line in LINES for part in re.split(r" \| ", line)]
    words = [shlex.split(part) for part in parts if part.startswith(program + " ")]
    assert words, f"the guide has no {program}"
    return words


def check_tollgate(words: list[str]) -> None:
    """Fails where there is no such command, or it has no such option."""
    command: click.Command = tollgate
    rest = list(words)
    while rest and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None, words
        command = found
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= flags, words


def test_the_guide_s_own_commands_exist() -> None:
    given = [re.sub(r"^\w+=\S+ ", "", line) for line in LINES]
    ours = [shlex.split(line)[1:] for line in given if line.startswith("tollgate ")]
    assert len(ours) >= 2
    for words in ours:
        check_tollgate(words)
    for name in re.findall(r"`tollgate ([a-z-]+)", GUIDE):
        check_tollgate([name])


@pytest.mark.parametrize("words", pieces("docker compose"), ids=" ".join)
def test_a_command_of_compose_is_about_services_of_the_file(words: list[str]) -> None:
    rest = words[2:]
    plain: list[str] = []
    while rest:
        word = rest.pop(0)
        if word in VALUED:
            value = rest.pop(0)
            assert word != "--profile" or value in PROFILES
        elif not word.startswith("-"):
            plain.append(word)
        if plain[:1] == ["run"] and len(plain) == 2:
            break
    verb, *services = plain
    assert verb in {"build", "up", "run", "exec", "ps", "logs"}
    named = services[:1] if verb in {"run", "exec"} else services
    assert set(named) <= set(SERVICES)
    if verb == "run":
        assert named[0] in OURS
        check_tollgate(rest or list(SERVICES[named[0]]["command"]))


def of_kind(kind: str) -> set[str]:
    return {
        one["metadata"]["name"]
        for overlay in OVERLAYS
        for one in resources(overlay)
        if one["kind"] == kind
    }


@pytest.mark.parametrize("words", pieces("kubectl"), ids=" ".join)
def test_a_command_of_kubectl_is_about_resources_of_the_overlays(words: list[str]) -> None:
    text = " ".join(words)
    kinds = {"statefulset": "StatefulSet", "deployment": "Deployment", "job": "Job"}
    for kind, name in re.findall(r"(statefulset|deployment|job)/([\w-]+)", text):
        assert name in of_kind(kinds[kind])
    for path in re.findall(r"deploy/[\w./-]+", text):
        if not path.startswith("deploy/secrets"):
            assert (ROOT / path).exists()
    for secret in re.findall(r"deploy/secrets/(\w+)", text):
        assert secret in COMPOSE["secrets"]
    for namespace in re.findall(r"-n (\S+)", text):
        assert namespace in of_kind("Namespace")
    if "--" in words:
        program, *rest = words[words.index("--") + 1 :]
        assert program == "tollgate"
        check_tollgate(rest)


def mounted_secrets() -> set[str]:
    """The Secrets that pods mount."""
    found: set[str] = set()
    for overlay in OVERLAYS:
        for one in resources(overlay):
            pod: Any = one.get("spec", {}).get("template", {}).get("spec", {})
            for volume in pod.get("volumes", []):
                if "secret" in volume:
                    found.add(volume["secret"]["secretName"])
    return found


def test_the_guide_names_every_secret_that_a_pod_mounts_and_no_other() -> None:
    named = set(re.findall(r"`(tollgate-(?:kafka|gateway-tls|hop|clickhouse)[\w-]*)`", GUIDE))
    named |= {
        words[words.index("generic") + 1] for words in pieces("kubectl") if "generic" in words
    }
    assert named == mounted_secrets()


def test_the_guide_tells_of_every_volume_overlay_and_profile() -> None:
    for name in (*COMPOSE["volumes"], *OVERLAYS):
        assert f"`{name}`" in GUIDE
    assert "--profile observe" in GUIDE


def test_the_memory_that_the_guide_asks_for_is_the_sum_of_the_limits() -> None:
    def gigabytes(*names: str) -> float:
        given = [SERVICES[name]["deploy"]["resources"]["limits"]["memory"] for name in names]
        assert all(one.endswith("g") for one in given)
        return sum(float(one[:-1]) for one in given)

    always = gigabytes("kafka", "clickhouse", "worker", "sink", "gateway")
    more = gigabytes("prometheus", "grafana")
    assert f"{always:.0f} GB of memory at most, {more:.0f} GB more with step 5" in GUIDE


def test_what_the_guide_quotes_is_said_by_the_code() -> None:
    said = "".join(path.read_text("utf-8") for path in files(".py", "streams"))
    plain = re.sub(r'"\n\s+f?"', "", said)
    table = GUIDE.partition("## When it does not come up")[2]
    quoted = re.findall(r'"([^"]+)"', table)
    assert len(quoted) >= 3
    assert not [one for one in quoted if one not in plain]


def test_scripts_and_targets_of_the_guide_exist() -> None:
    for words in pieces("sh"):
        assert (ROOT / words[1]).exists()
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make ([\w-]+)`", GUIDE) + [words[1] for words in pieces("make")]:
        assert f".PHONY: {target}\n" in makefile
    for path in re.findall(r"-f (\S+)", " ".join(LINES)):
        assert (ROOT / path).exists()
