"""`reread multiplier` as a person and a script call it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from reread.cli import run

LADDER = """arm,train_flops,accuracy,n,reader
baseline,1e18,0.35,1000,
baseline,1e19,0.48,1000,
baseline,1e20,0.60,1000,
retrieval,1e18,0.50,1000,
[red]odd,1e20,0.99,1000,
baseline,,0.5,1000,llama
retrieval,,0.58,1000,llama
"""


@pytest.fixture
def points(tmp_path: Path) -> str:
    path = tmp_path / "points.csv"
    path.write_text(LADDER)
    return str(path)


def test_the_papers_table_is_printed_beside_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["multiplier", "--example", "paper"]) == 0
    out = capsys.readouterr().out
    for printed in ("5.28x", "7.17x", "2.88x", "11.10x", "logistic to 0.85", "logistic, free (0.800)"):
        assert printed in out
    assert "2.91x*" in out


def test_the_example_starts_in_two_seconds_and_without_the_heavy_parts() -> None:
    code = "import sys; from reread.cli import run; run(['multiplier', '--example', 'paper', '--json'])\n"
    code += "print([m for m in ('torch', 'scipy', 'matplotlib', 'faiss') if m in sys.modules], file=sys.stderr)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
    assert len(json.loads(result.stdout)["points"]) == 10
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: the machine may be busy with other tests.
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 2


def test_json_goes_to_stdout_alone(points: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["multiplier", points, "--ceiling", "0.9", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert [point["arm"] for point in result["points"]] == ["retrieval", "[red]odd", "retrieval"]
    assert result["points"][1]["multiplier"] is None and result["points"][1]["extrapolated"]
    assert result["points"][2]["train_flops"] is None
    assert err == ""


def test_every_arm_and_reader_is_printed_and_names_are_not_markup(
    points: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["multiplier", points, "--ceiling", "0.9"]) == 0
    out = capsys.readouterr().out
    for name in ("[red]odd", "llama, against its own baseline", "at or above the curve's ceiling 0.9"):
        assert name in out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "no ceiling is known"),
        (["--ceiling", "2"], "at most at 1"),
        (["--ceiling", "free", "--fit", "cubic"], "unknown fit 'cubic'"),
        (["--ceiling", "0.55"], "above the fixed ceiling"),
        (["--ceiling", "0.9", "--floor", "0.95"], "above the floor"),
    ],
)
def test_misuse_is_one_sentence(
    points: str, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["multiplier", points, *options]) in (1, 2)
    out, err = capsys.readouterr()
    assert sentence in err and err.count("\n") == 1 and out == ""


def test_a_weak_rise_is_noted_beside_the_multipliers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "arm,train_flops,accuracy,n\nbaseline,1e18,0.40,{n}\nbaseline,1e19,0.44,{n}\nretrieval,1e18,0.43,{n}\n"
    path = tmp_path / "points.csv"
    for n, is_noted in ((100, True), (100_000, False)):
        path.write_text(rows.format(n=n))
        assert run(["multiplier", str(path), "--ceiling", "0.9"]) == 0
        out = capsys.readouterr().out
        assert ("The baseline does not surely rise with compute" in out) is is_noted
        assert "Compute multiplier" in out


def test_a_run_that_does_not_rise_is_refused_as_in_its_own_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rungs = [
        {"name": f"r{i}", "train_flops": 10.0 ** (18 + i), "arms": {"baseline": {"n": 500, "accuracy": 0.25 + i / 100}}}
        for i in range(3)
    ]
    (tmp_path / "scores.json").write_text(json.dumps({"headline": "w", "benchmarks": {"w": {"rungs": rungs}}}))
    assert run(["multiplier", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "does not surely rise with compute here (trend 0.7 standard errors, 3 wanted)" in err and out == ""


def test_an_arm_left_out_of_a_run_is_named_with_its_rungs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rungs = [
        {
            "name": f"r{i}",
            "train_flops": 10.0 ** (18 + i),
            "arms": {"baseline": {"n": 500, "accuracy": 0.3 + 0.2 * i}, "oracle": {"n": 90, "accuracy": 0.9}},
        }
        for i in range(2)
    ]
    scores = {"headline": "w", "benchmarks": {"w": {"rungs": rungs}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert run(["multiplier", str(tmp_path), "--ceiling", "0.95"]) == 0
    assert "oracle asked 90 of 500 questions on r0, r1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options", [["--fit", "linear"], ["--ceiling", "free"], ["--ceiling", "1", "--weights", "binomial"]]
)
def test_every_fit_prints(points: str, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["multiplier", points, *options]) == 0
    assert "Curve:" in capsys.readouterr().out
