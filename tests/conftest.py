"""Shared fixtures: where the real data is, and which tests are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


def realdata_folder() -> Path:
    return Path(os.environ.get("REREAD_DATA") or REPOSITORY.parent / "shared" / "data")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real data (REREAD_DATA, else ../shared/data beside the repository)."""
    folder = realdata_folder()
    if not folder.is_dir():
        pytest.skip(
            f"no real data at {folder}; set REREAD_DATA to the folder that holds benchmarks/ and corpora/"
        )
    return folder
