"""Errors become short messages and exit codes in one place; options become settings."""

from pathlib import Path
from typing import NoReturn

import click
import pytest

from streams import __main__
from streams.cli import main
from streams.cli.options import with_settings
from streams.errors import FaultError, SetupError, TollgateError, TransientError
from streams.settings import Settings


def plant(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> None:
    """Make `tollgate planted` run a command."""
    monkeypatch.setitem(main.COMMANDS, "planted", (f"{__name__}:unused", "Planted."))
    original = main.LazyGroup.get_command

    def get_command(
        self: main.LazyGroup, ctx: click.Context, cmd_name: str
    ) -> click.Command | None:
        return command if cmd_name == "planted" else original(self, ctx, cmd_name)

    monkeypatch.setattr(main.LazyGroup, "get_command", get_command)


def raising(error: BaseException) -> click.Command:
    @click.command()
    def planted() -> NoReturn:
        raise error

    return planted


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SetupError("no port", action="Choose another."), 2),
        (TransientError("no answer", action="Try again."), 1),
        (FaultError("a gap", action="Report it."), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("no such thing"), 2),
        (click.ClickException("did not work"), 1),
        (BrokenPipeError(), 141),
    ],
)
def test_every_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A broken pipe redirects the file behind stdout, which is pytest's own here.
    monkeypatch.setattr("os.dup2", lambda *_: None)
    plant(monkeypatch, raising(error))
    assert main.run(["planted"]) == code


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main.run(["planted"])


def test_a_bug_has_an_exit_code_that_no_command_answers_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, raising(ZeroDivisionError()))
    monkeypatch.setattr("sys.argv", ["tollgate", "planted"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_may_return_its_exit_code(
    returned: int | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def planted() -> int | None:
        return returned

    plant(monkeypatch, planted)
    assert main.run(["planted"]) == code


def test_a_command_may_leave_through_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def planted(ctx: click.Context) -> None:
        ctx.exit(3)

    plant(monkeypatch, planted)
    assert main.run(["planted"]) == 3


def test_an_error_says_what_happened_and_what_to_do_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, raising(SetupError("port 1 is busy", action="Choose another port.")))
    main.run(["planted"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: port 1 is busy\nto do: Choose another port.\n"


def test_a_list_of_faults_stays_a_list_and_long_lines_are_wrapped_under_their_text() -> None:
    message = "the settings cannot be used:\n  - first\n  - " + "second " * 20
    lines = main.error_text(TollgateError(message, action="Mend it.")).splitlines()
    assert lines[0] == "error: the settings cannot be used:"
    assert lines[1] == "         - first"
    assert lines[2].startswith("         - second second")
    assert lines[3].startswith("           second")
    assert max(map(len, lines)) <= main.MESSAGE_COLUMNS


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["nonsense"]) == 2
    assert "No such command" in capsys.readouterr().err


def test_a_command_whose_package_is_missing_names_it_and_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(main.COMMANDS, "planted", ("not_installed.at_all:command", "Planted."))
    assert main.run(["planted"]) == 2
    printed = capsys.readouterr().err
    assert "not_installed" in printed
    assert "tollgate[embedded]" in printed


def test_a_module_of_our_own_that_is_missing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.COMMANDS, "planted", ("streams.cli.gone:command", "Planted."))
    with pytest.raises(ModuleNotFoundError):
        main.run(["planted"])


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tollgate, version 0.")


def test_a_command_gets_its_settings_from_its_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Settings] = []

    @click.command()
    @with_settings("partitions")
    @click.argument("customer")
    def planted(settings: Settings, customer: str) -> None:
        assert customer == "acme"
        seen.append(settings)

    plant(monkeypatch, planted)
    monkeypatch.setenv("TOLLGATE_PARTITIONS", "3")
    monkeypatch.setenv("TOLLGATE_APP_ID", "billing")
    (tmp_path / "any.env").write_text("TOLLGATE_LOG_LEVEL=error\n")
    arguments = ["--home", str(tmp_path), "--env-file", str(tmp_path / "any.env"), "acme"]
    assert main.run(["planted", "--partitions", "4", *arguments]) == 0
    (settings,) = seen
    assert settings.partitions == 4
    assert settings.app_id == "billing"
    assert settings.log_level == "error"
    assert settings.home == tmp_path


def test_a_secret_cannot_become_a_flag() -> None:
    def planted(settings: Settings) -> None: ...

    with pytest.raises(ValueError, match="secret"):
        with_settings("clickhouse_password")(planted)


def test_config_show_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TOLLGATE_CLICKHOUSE_PASSWORD", "correct-horse")
    for arguments in ([], ["--json"]):
        assert main.run(["config", "show", "--home", str(tmp_path), *arguments]) == 0
        printed = capsys.readouterr().out
        assert "(hidden)" in printed
        assert "correct-horse" not in printed


def test_config_check_reports_every_fault_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TOLLGATE_PARTITIONS", "0")
    monkeypatch.setenv("TOLLGATE_KAFKA_PORT", "x")
    assert main.run(["config", "check", "--home", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert "TOLLGATE_PARTITIONS" in printed
    assert "TOLLGATE_KAFKA_PORT" in printed
