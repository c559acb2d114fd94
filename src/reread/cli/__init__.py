"""The command line: parse, call one public function, print. Results on stdout, progress and notes on stderr."""

from __future__ import annotations

import errno
import sys

import typer

from reread import __version__
from reread.cli import (
    ask,
    audit,
    build,
    decontaminate,
    dedup,
    evaluation,
    extract,
    lm_eval,
    multiplier,
    pretrain,
    probe,
    report,
    search,
    store,
)
from reread.cli.hits import plain
from reread.errors import RereadError

app = typer.Typer(
    name="reread",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Let a language model re-read its pre-training data at test time, and measure what that is worth.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"reread {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


for panel, commands in {
    "Start here": (probe.demo, ask.ask),
    "Datastores": (extract.extract, dedup.dedup, build.build, search.search, store.verify),
    "Experiments": (
        *(probe.probe, evaluation.eval_, lm_eval.lm_eval),
        *(decontaminate.decontaminate, pretrain.pretrain),
    ),
    "Analysis": (multiplier.multiplier, audit.audit, report.report),
}.items():
    for command in commands:
        app.command(
            command.__name__.rstrip("_").replace("_", "-"),
            rich_help_panel=panel,
            no_args_is_help=command is not probe.demo,
            context_settings=lm_eval.SETTINGS if command is lm_eval.lm_eval else None,
        )(command)

app.add_typer(store.store_app, name="store", rich_help_panel="Datastores")

STOPPED = 130
"""What typer makes of Ctrl-C."""


def run(arguments: list[str]) -> int:
    """The exit code of one call; every expected failure is one sentence on stderr."""
    try:
        app(arguments, prog_name="reread")
    except SystemExit as stop:
        if stop.code == STOPPED:
            return _complain("stopped; what was finished is kept, and the same command goes on from there", 1)
        return stop.code if isinstance(stop.code, int) else 0
    except RereadError as error:
        return _complain(str(error), error.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            where = f" writing {error.filename}" if error.filename else ""
            what = "a file may not grow any further" if error.errno == errno.EFBIG else "the disk is full"
            return _complain(f"{what}{where}; free some space and run the same command again: finished work is kept", 1)
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return _complain(f"no permission for {error.filename}; choose another folder", 2)
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            return _complain(f"{error.filename}: {(error.strerror or 'a wrong path').lower()}; choose another path", 2)
        raise
    return 0


def _complain(sentence: str, code: int) -> int:
    print(f"reread: {plain(sentence)}", file=sys.stderr)
    return code
