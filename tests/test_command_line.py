"""The command line as a whole: help, exit codes, one sentence for every misuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from reread.cli import app, run

COMMANDS = [command.callback.__name__.rstrip("_") for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"reread {command}" in " ".join(shown.replace("│", " ").split())


def test_every_option_is_explained() -> None:
    for registered in app.registered_commands:
        assert registered.callback is not None
        for name, annotation in get_type_hints(registered.callback, include_extras=True).items():
            if name != "return":
                (information,) = (part for part in annotation.__metadata__ if hasattr(part, "help"))
                assert information.help, f"{registered.callback.__name__}: {name}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["demo", "--outt", "x"],
        ["build", "nowhere-at-all", "--store", "unused"],
        ["multiplier", "nowhere.csv"],
        ["probe", "nowhere.yaml"],
        ["report", "nowhere"],
        ["verify", "nowhere"],
        ["eval", "nothing:x.jsonl", "--reader", "lexical", "--out", "unused"],
        ["pretrain", "nowhere-at-all", "--out", "unused"],
        ["decontaminate", "nowhere-at-all", "--against", "mmlu:x", "--out", "unused"],
    ],
)
def test_misuse_is_explained_and_exits_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.strip()
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("reread ")


def test_a_reader_of_our_output_may_leave_early() -> None:
    command = f"{sys.executable} -m reread multiplier --example paper --json | head -c 10"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr
