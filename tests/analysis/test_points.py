"""Points files as people write them, and what is wrong with the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reread.analysis.measure import analysis_json, curve_from_json, curve_json, measure, multiplier_json, skipped_json
from reread.analysis.points import read_csv, read_source
from reread.errors import FitError, UsageError

HEADER = "arm,train_flops,accuracy,n\n"
LADDER = "baseline,1e18,0.35,1000\nbaseline,1e19,0.48,1000\nbaseline,1e20,0.60,1000\n"
PAPER = """arm,train_flops,accuracy,n
baseline,5.64e21,0.487,14042
baseline,1.90e22,0.602,14042
baseline,7.04e22,0.662,14042
baseline,1.74e23,0.711,14042
baseline,7.34e23,0.763,14042
retrieval,5.64e21,0.606,14042
retrieval,1.90e22,0.694,14042
retrieval,7.04e22,0.741,14042
retrieval,1.74e23,0.778,14042
retrieval,7.34e23,0.819,14042
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_papers_points_as_a_file_give_its_multipliers(tmp_path: Path) -> None:
    result = analysis_json(measure([written(tmp_path, PAPER)], ceiling="0.9407"))
    assert result["curve"]["slope"] == pytest.approx(0.797, abs=0.002)
    found = [point["multiplier"] for point in result["points"]]
    assert found == [pytest.approx(value, rel=0.025) for value in (5.28, 7.17, 4.74, 4.23, 2.88)]
    assert all(point["low"] < point["multiplier"] < point["high"] for point in result["points"])


def test_json_has_the_stable_fields(tmp_path: Path) -> None:
    result = analysis_json(measure([written(tmp_path, PAPER)], ceiling=0.9407))
    assert {"kind", "floor", "ceiling", "slope", "midpoint_flops"} <= set(result["curve"])
    stable = {
        "arm", "train_flops", "accuracy", "equivalent_flops", "multiplier", "low", "high", "extrapolated"
    }  # fmt: skip
    assert all(stable <= set(point) for point in result["points"])
    json.dumps(result, allow_nan=False)


def test_json_has_no_infinite_number_whatever_the_fit(tmp_path: Path) -> None:
    text = HEADER + LADDER + "retrieval,1e18,0.99,50\nretrieval,1e19,0.1,50\nretrieval,1e20,0.7,\n"
    for kind in ("logistic", "power", "linear"):
        result = analysis_json(measure([written(tmp_path, text)], ceiling=0.9, kind=kind))
        json.dumps(result, allow_nan=False)
        assert [point["multiplier"] for point in result["points"]][:2] == [None, None]


def test_the_benchmark_column_gives_mmlu_its_ceiling(tmp_path: Path) -> None:
    lines = PAPER.strip().splitlines()
    text = "\n".join([lines[0] + ",benchmark", *(line + ",mmlu" for line in lines[1:])])
    assert measure([written(tmp_path, text)]).choice.ceiling == 0.9407
    assert measure([written(tmp_path, PAPER)], benchmark="mmlu").choice.ceiling == 0.9407
    with pytest.raises(UsageError, match="no ceiling is known"):
        measure([written(tmp_path, PAPER)])


def test_several_benchmarks_in_one_file_are_chosen_by_name(tmp_path: Path) -> None:
    text = HEADER.strip() + ",benchmark\n" + "baseline,1e18,0.35,9,mmlu\nbaseline,1e18,0.2,9,gpqa\n"
    with pytest.raises(UsageError, match=r"several benchmarks \(mmlu, gpqa\)"):
        read_csv(written(tmp_path, text))
    assert [row.accuracy for row in read_csv(written(tmp_path, text), "gpqa").rows] == [0.2]
    with pytest.raises(UsageError, match="no rows of benchmark 'squad'"):
        read_csv(written(tmp_path, text), "squad")


def test_spreadsheet_habits_are_read(tmp_path: Path) -> None:
    text = "\ufeffArm , Train_FLOPs,accuracy, n ,note\r\n Baseline ,5.64E+21, .487 ,14042.0,hello\r\n,,,,\r\n"
    row = read_csv(written(tmp_path, text)).rows[0]
    assert (row.arm, row.train_flops, row.accuracy, row.n) == ("baseline", 5.64e21, 0.487, 14042)


def test_a_row_without_flops_is_an_outside_reader(tmp_path: Path) -> None:
    text = "arm,train_flops,accuracy,n,reader\n" + LADDER.replace("1000\n", "1000,\n")
    text += "baseline,,0.5,1000,llama\nretrieval,,0.58,1000,llama\n"
    result = analysis_json(measure([written(tmp_path, text)], ceiling=0.9))
    assert result["points"][0]["reader"] == "llama"
    assert result["points"][0]["multiplier"] > 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        (HEADER, "a header and no rows"),
        ("arm,accuracy\nbaseline,0.5\n", "no column train_flops"),
        ("arm;train_flops;accuracy\nbaseline;1e18;0.5\n", "separated by commas"),
        ("arm,train_flops,accuracy,accuracy\nbaseline,1e18,0.5,0.5\n", "accuracy twice"),
        (HEADER + "baseline,1e18,48.7,10\n", "write 0.487 if it is in percent"),
        (HEADER + "baseline,1e18,-0.1,10\n", "shares between 0 and 1"),
        (HEADER + "baseline,1e18,high,10\n", "line 2 has accuracy 'high', which is not a number"),
        (HEADER + "baseline,1e18,nan,10\n", "accuracy 'nan'"),
        (HEADER + "baseline,1e18,,10\n", "accuracy ''"),
        (HEADER + "baseline,1e999,0.5,10\n", "train_flops '1e999'"),
        (HEADER + "baseline,-5,0.5,10\n", "train_flops -5"),
        (HEADER + "baseline,1e18,0.5,0\n", "n 0"),
        (HEADER + "baseline,1e18,0.5,1.5\n", "n 1.5"),
        (HEADER + "baseline,1e18,0.5\n", "line 2 has 3 cells for 4 columns"),
        (HEADER + ",1e18,0.5,10\n", "empty arm"),
        (HEADER + '"baseline,1e18,0.5,10\n', "not a UTF-8 CSV file"),
    ],
)
def test_a_wrong_file_is_named_by_what_is_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_csv(written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(b"\xff\xfe\x00arm")
    with pytest.raises(UsageError, match="not a UTF-8 CSV"):
        read_csv(path)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file or run folder at .*nowhere"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no finished run folder"):
        read_source(tmp_path)
    with pytest.raises(UsageError, match="nothing to measure"):
        measure([])
    with pytest.raises(UsageError, match="not both"):
        measure([tmp_path], example="paper")
    with pytest.raises(UsageError, match="unknown example"):
        measure([], example="poem")


def test_a_curve_survives_its_json(tmp_path: Path) -> None:
    for kind in ("logistic", "power", "linear"):
        curve = measure([written(tmp_path, PAPER)], ceiling=0.9407, kind=kind).measured.curve
        assert curve_from_json(json.loads(json.dumps(curve_json(curve)))) == curve
    with pytest.raises(UsageError, match="cannot be read"):
        curve_from_json({"kind": "logistic"})


def run_folder(folder: Path, base: tuple[float, ...] = (0.35, 0.45, 0.55, 0.65)) -> Path:
    """Four rungs, 200 questions; question q is answered right where q / 200 is below the arm's accuracy."""
    rungs, lines = [], []
    for i, accuracy_of_rung in enumerate(base):
        arms = {}
        for arm, accuracy in (("baseline", accuracy_of_rung), ("retrieval", accuracy_of_rung + 0.1)):
            right = [q / 200 < accuracy for q in range(200)]
            arms[arm] = {"n": 200, "accuracy": sum(right) / 200}
            for q, is_right in enumerate(right):
                row = {"benchmark": "world", "rung": f"r{i}", "arm": arm, "question_id": f"q{q}"}
                lines.append(json.dumps({**row, "score": float(is_right), "answer": "A"}))
        rungs.append({"name": f"r{i}", "train_flops": 10.0 ** (18 + i), "arms": arms})
    entry = {"chance": 0.25, "rungs": rungs, "curve": {"kind": "logistic", "ceiling": 0.95}}
    (folder / "scores.json").write_text(json.dumps({"headline": "world", "benchmarks": {"world": entry}}))
    (folder / "answers.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_folder_is_measured_with_its_own_floor_ceiling_and_answers(tmp_path: Path) -> None:
    analysis = measure([run_folder(tmp_path)])
    assert (analysis.choice.floor, analysis.choice.ceiling) == (0.25, 0.95)
    assert analysis.paired
    assert [point.arm for point in analysis.measured.multipliers] == ["retrieval"] * 4
    unpaired = measure([written(tmp_path, HEADER + csv_of(tmp_path))], ceiling=0.95).measured.multipliers
    for paired, alone in zip(analysis.measured.multipliers, unpaired, strict=True):
        assert paired.multiplier == pytest.approx(alone.multiplier)
        assert paired.high / paired.low < alone.high / alone.low  # type: ignore[operator]


def test_an_outside_reader_of_a_run_is_measured_where_it_has_a_baseline(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    scores = json.loads((folder / "scores.json").read_text())
    arms = {"baseline": {"n": 200, "accuracy": 0.5}, "retrieval": {"n": 200, "accuracy": 0.6}}
    rungs = scores["benchmarks"]["world"]["rungs"]
    rungs.append({"name": "llama", "train_flops": None, "arms": arms})
    rungs.append({"name": "lexical", "train_flops": None, "arms": {"retrieval": {"n": 200, "accuracy": 0.4}}})
    (folder / "scores.json").write_text(json.dumps(scores))
    measured = measure([folder]).measured
    assert [point.reader for point in measured.multipliers if not point.train_flops] == ["llama"]


def with_half_asked_oracle(folder: Path) -> Path:
    """The run with an arm `oracle` that answered 80 of the 200 questions, on every rung but the first."""
    scores = json.loads((folder / "scores.json").read_text())
    for rung in scores["benchmarks"]["world"]["rungs"][1:]:
        rung["arms"]["oracle"] = {"n": 80, "accuracy": 0.9}
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder


def test_an_arm_asked_other_questions_than_its_baseline_is_not_read_off_the_curve(tmp_path: Path) -> None:
    without = measure([run_folder(tmp_path)])
    analysis = measure([with_half_asked_oracle(tmp_path)])
    reason = "asked 80 of 200 questions"
    assert analysis.skipped == {(f"r{i}", "oracle"): reason for i in (1, 2, 3)}
    assert analysis.measured == without.measured and analysis.paired
    assert analysis_json(analysis)["skipped"][0] == {"rung": "r1", "arm": "oracle", "reason": reason}


def test_a_skipped_arm_has_the_fields_of_a_multiplier(tmp_path: Path) -> None:
    measured = multiplier_json(measure([run_folder(tmp_path)]).measured.multipliers[0])
    skipped = skipped_json("asked 80 of 200 questions")
    assert set(skipped) == {*measured, "reason"}
    assert skipped["reason"] == "asked 80 of 200 questions" and skipped["value"] is None
    assert not skipped["extrapolated"]


def test_a_run_whose_baseline_may_not_rise_gets_no_multiplier(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, base=(0.40, 0.42, 0.41, 0.45))
    with pytest.raises(
        FitError, match=r"does not surely rise with compute here \(trend 0\.9 standard errors, 3 wanted"
    ):
        measure([folder])


def test_points_of_a_file_are_fitted_however_little_they_rise(tmp_path: Path) -> None:
    text = HEADER + csv_of(run_folder(tmp_path, base=(0.40, 0.42, 0.41, 0.45)))
    analysis = measure([written(tmp_path, text)], ceiling=0.95)
    assert len(analysis.measured.multipliers) == 4
    assert analysis.rise_z == pytest.approx(0.9, abs=0.05)
    assert analysis_json(analysis)["rise_z"] == analysis.rise_z


def test_without_the_number_of_questions_no_rise_is_tested(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, base=(0.40, 0.42, 0.41, 0.45))
    scores = json.loads((folder / "scores.json").read_text())
    for rung in scores["benchmarks"]["world"]["rungs"]:
        for score in rung["arms"].values():
            del score["n"]
    (folder / "scores.json").write_text(json.dumps(scores))
    assert measure([folder]).rise_z is None


def csv_of(folder: Path) -> str:
    rungs = json.loads((folder / "scores.json").read_text())["benchmarks"]["world"]["rungs"]
    return "".join(
        f"{arm},{rung['train_flops']},{score['accuracy']},{score['n']}\n"
        for rung in rungs
        for arm, score in rung["arms"].items()
    )


def test_answers_of_another_run_are_not_used_for_the_interval(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    lines = (folder / "answers.jsonl").read_text().splitlines()
    (folder / "answers.jsonl").write_text("\n".join(lines[:150]) + "\n")
    assert not measure([folder]).paired


def test_a_benchmark_that_the_run_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no benchmark 'mmlu'; it has world"):
        read_source(run_folder(tmp_path), "mmlu")


def test_scores_cut_short_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"benchmarks": {')
    with pytest.raises(UsageError, match="is not JSON"):
        read_source(tmp_path)
