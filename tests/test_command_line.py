"""The command line as a whole: help, exit codes, one sentence for every misuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
import typer

from reread.cli import app, run


def commands(of: typer.Typer, *groups: str) -> Iterator[tuple[str, Callable[..., None]]]:
    """(words, function) of every command, those of sub-commands behind the name of their group."""
    for command in of.registered_commands:
        assert command.callback is not None
        yield " ".join([*groups, command.callback.__name__.rstrip("_").replace("_", "-")]), command.callback
    for group in of.registered_groups:
        assert group.typer_instance is not None and group.name is not None
        yield from commands(group.typer_instance, *groups, group.name)


COMMANDS = dict(commands(app))


def test_the_commands_of_groups_are_checked_too() -> None:
    assert {"build", "store subset", "store merge"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"reread {command}" in " ".join(shown.replace("│", " ").split())


def test_every_option_is_explained() -> None:
    for command, function in COMMANDS.items():
        for name, annotation in get_type_hints(function, include_extras=True).items():
            if name != "return":
                (information,) = (part for part in annotation.__metadata__ if hasattr(part, "help"))
                assert information.help, f"{command}: {name}"


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
        ["store", "subset", "nowhere", "--fraction", "0.5", "--out", "unused"],
        ["store", "merge", "nowhere", "--out", "unused"],
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
