"""deploy/Dockerfile builds what pyproject.toml says, of files that exist, into an image that runs
without rights on a read-only root file system. `make test-deploy` runs hadolint on it too."""

import re
import tomllib
from typing import Final

import click
import pytest

from streams.cli.main import tollgate
from streams.settings import Settings, environment_name
from streams.shipped import version
from tests.composed import DOCKERFILE, OURS, PROBED, image_variables
from tests.guard.repository import ROOT

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Name and arguments of each instruction, with continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(n, rest) for n, _, rest in (line.partition(" ") for line in joined.splitlines()) if n]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[Instruction]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


BUILD, FINAL = stages()
KNOWN: Final = {
    "FROM", "LABEL", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL",
    "HEALTHCHECK", "ENTRYPOINT", "CMD", "ARG",
}  # fmt: skip


def of(stage: list[Instruction], name: str) -> list[str]:
    return [rest for found, rest in stage if found == name]


def test_the_base_is_held_by_tag_and_digest() -> None:
    [base] = [rest for name, rest in instructions() if name == "ARG"]
    name, _, image = base.partition("=")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", image)
    used = [rest.split()[0] for stage in stages() for rest in of(stage, "FROM")]
    assert used == [f"${{{name}}}"] * 2
    [required] = re.findall(
        r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text(), re.M
    )
    minor = int(image.split(".")[1])
    assert int(required[0]) <= minor < int(required[1])


def test_only_known_instructions_are_used_and_no_shell_forms() -> None:
    assert {name for name, _ in instructions()} <= KNOWN
    for name in ("ENTRYPOINT", "CMD"):
        assert all(rest.startswith("[") for stage in stages() for rest in of(stage, name))
    assert "sudo" not in DOCKERFILE
    assert not re.search(r"\b(curl|wget|apt-get|ADD)\b", DOCKERFILE)


def copied() -> list[str]:
    return [
        word
        for stage in stages()
        for rest in of(stage, "COPY")
        if not rest.startswith("--from")
        for word in rest.split()[:-1]
    ]


def test_the_image_copies_only_what_exists() -> None:
    assert copied()
    assert not [name for name in copied() if not (ROOT / name).exists()]


def test_the_image_copies_all_that_its_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], *project["project"]["license-files"]}
    assert needed | {project["project"]["readme"], "pyproject.toml"} <= set(copied())


def test_everything_that_is_installed_is_pinned_and_hashed() -> None:
    for rest in of(BUILD, "RUN"):
        for command in rest.split("&&"):
            if " install " in command:
                assert "--no-deps" in command
                assert "--require-hashes" in command or "/opt/wheels/*.whl" in command
                assert "--no-cache-dir" in command


def test_the_last_stage_has_nothing_that_installs() -> None:
    assert any("pip uninstall --yes pip" in rest for rest in of(FINAL, "RUN"))
    assert any("--without-pip /opt/tollgate" in rest for rest in of(BUILD, "RUN"))
    assert of(FINAL, "COPY") == ["--from=build /opt/tollgate /opt/tollgate"]


def test_the_image_runs_as_the_user_that_the_compose_file_names() -> None:
    assert of(FINAL, "USER") == ["10001:10001"]
    assert {service["user"] for service in OURS.values()} == {"10001:10001"}
    after = FINAL[[name for name, _ in FINAL].index("USER") + 1 :]
    assert not [rest for name, rest in after if name in {"RUN", "COPY", "USER"}]


def test_the_image_runs_the_console_command_on_settings_that_exist() -> None:
    assert of(FINAL, "ENTRYPOINT") == ['["tollgate"]']
    names = {environment_name(field) for field in Settings.model_fields}
    ours = {name for name in image_variables() if name.startswith("TOLLGATE_")}
    assert ours == {"TOLLGATE_HOME"} <= names
    assert of(FINAL, "VOLUME") == of(FINAL, "WORKDIR") == [image_variables()["TOLLGATE_HOME"]]
    # Nothing is compiled while it runs: the root file system is read-only.
    assert image_variables()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_image_asks_itself_how_it_is_and_is_told_to_stop_as_the_code_expects() -> None:
    [check] = of(FINAL, "HEALTHCHECK")
    assert re.search(r'CMD \["tollgate", "probe", "live"\]$', check)
    assert tollgate.get_command(click.Context(tollgate), "probe") is not None
    assert of(FINAL, "STOPSIGNAL") == ["SIGTERM"]


def test_the_image_exposes_what_its_services_listen_on() -> None:
    listening = {
        value.rpartition(":")[2]
        for name in PROBED
        for variable, value in OURS[name]["environment"].items()
        if variable in {"TOLLGATE_GATEWAY_LISTEN", "TOLLGATE_METRICS_LISTEN"}
    }
    [exposed] = of(FINAL, "EXPOSE")
    assert set(exposed.split()) == listening


@pytest.mark.parametrize("label", ["title", "description", "version", "licenses"])
def test_the_image_says_what_it_is(label: str) -> None:
    [labels] = of(FINAL, "LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    assert found[label]
    assert found["version"] == version()
