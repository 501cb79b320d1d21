"""A cumulative ablation: its arms, what it refuses, and its section in the report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import grid, make_run

from liger_benchmark.analysis.ladder import is_ladder
from liger_benchmark.analysis.result_folders import read_experiment
from liger_benchmark.analysis.tables import analyse
from liger_benchmark.experiment.axes import ExperimentArguments
from liger_benchmark.experiment.inputs_file import read_inputs
from liger_benchmark.report.inputs import inputs_yaml
from liger_benchmark.report.ladder import step_by_step
from liger_benchmark.run import OUT_OF_MEMORY, write_run
from liger_benchmark.validation import InvalidInput

LADDER: dict[str, Any] = {
    "checkpointing": {"gradient_checkpointing": True},
    "Liger": {"use_liger": True},
    "AdamW": {"optim": "adamw_torch", "learning_rate": 1e-4},
}
EXPERIMENT = {"per_device_train_batch_size": [4], "ladder": LADDER}
ARMS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "+ checkpointing": {"gradient_checkpointing": True, "factor": 0.8},
    "+ Liger": {"gradient_checkpointing": True, "use_liger": True},
    "+ AdamW": {
        "gradient_checkpointing": True, "use_liger": True, "optim": "adamw_torch", "factor": 0.9,
    },
}  # fmt: skip


def test_each_step_has_all_settings_before_it() -> None:
    grid_ = read_inputs({"experiment_args": EXPERIMENT, "n_runs": 2}).grid
    assert [a.arm for a in grid_[:4]] == list(ARMS)
    assert [a.arm for a in grid_[4:]] == list(reversed(ARMS))
    assert [a.use_liger for a in grid_[:4]] == [False, False, True, True]
    assert [a.gradient_checkpointing for a in grid_[:4]] == [False, True, True, True]
    assert (grid_[3].optim, grid_[3].learning_rate) == ("adamw_torch", 1e-4)
    assert len({a.slug for a in grid_}) == 8


def test_a_ladder_travels_as_json() -> None:
    experiment = ExperimentArguments.from_mapping(EXPERIMENT)
    assert experiment.steps == LADDER
    assert ExperimentArguments.from_json(json.dumps(dataclasses.asdict(experiment))) == experiment


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ({"ladder": {}}, "ladder: {} is not a mapping of steps"),
        ({"ladder": {"x": {}}}, r"ladder.x: {} is not a mapping of settings"),
        ({"ladder": {"x": "fast"}}, r'ladder.x: "fast" is not a mapping of settings'),
        ({"ladder": {"x": {"packng": True}}}, "is no setting of a step; did you mean packing?"),
        ({"ladder": {"x": {"packing": 1}}}, "ladder.x.packing: 1 is not true or false"),
        ({"ladder": LADDER, "optim": ["sgd"]}, "optim: cannot be an axis beside a ladder"),
        ({"ladder": LADDER, "use_liger": [True]}, "begins without Liger"),
        (
            {"ladder": {"x": {"packing": True}, "y": {"padding_free": True}}},
            r'the arm "\+ y" cannot be run',
        ),
        ({"ladder": LADDER, "arms": ["+ Ligr"]}, r"did you mean \+ Liger"),
    ],
)
def test_a_ladder_that_cannot_be_run_is_refused(experiment: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_inputs({"experiment_args": experiment})


def test_only_additions_make_a_ladder() -> None:
    assert is_ladder(list(ARMS))
    assert not is_ladder(["baseline"])
    assert not is_ladder(["vanilla", "Liger"])
    assert not is_ladder(["+ Liger", "+ AdamW"])


def test_every_step_is_compared_with_the_one_before() -> None:
    analysis = analyse(grid(sizes=(16,), arms=ARMS))
    assert list(analysis.steps["arm"]) == list(ARMS)[1:]
    assert list(analysis.steps["previous"]) == list(ARMS)[:-1]
    checkpointing = analysis.steps.iloc[0]
    assert checkpointing["speedup_percent"] == pytest.approx(-20)
    assert analysis.comparison["arm"].tolist() == list(ARMS)[1:]
    assert analyse(grid(sizes=(16,))).steps.empty


def test_the_page_has_a_waterfall_and_a_table_with_intervals() -> None:
    runs = grid(sizes=(16,), arms=ARMS)
    section = step_by_step(analyse(runs))
    assert 'id="steps"' in section and "<svg" in section
    for arm in ARMS:
        assert arm in section
    assert "-20.0%" in section.replace("\N{MINUS SIGN}", "-")
    assert step_by_step(analyse(grid(sizes=(16,)))) == ""


def test_a_step_without_a_result_says_so() -> None:
    runs = [run for run in grid(sizes=(16,), arms=ARMS) if run.training_args.arm != "+ Liger"]
    runs += [
        make_run("+ Liger", 16, repeat, outcome=OUT_OF_MEMORY, **ARMS["+ Liger"])
        for repeat in (1, 2, 3)
    ]
    order = {arm: i for i, arm in enumerate(ARMS)}
    runs.sort(key=lambda run: (run.training_args.run, order[run.training_args.arm]))
    section = step_by_step(analyse(runs))
    assert "no result" in section


def test_a_ladder_is_read_back_in_its_order_and_can_be_repeated(tmp_path: Path) -> None:
    import yaml

    runs = grid(sizes=(16,), repeats=2, arms={k: {**v} for k, v in ARMS.items()})
    for run in runs:
        write_run(tmp_path / "runs" / run.training_args.slug, run)
    read = read_experiment([tmp_path])
    assert list(dict.fromkeys(run.training_args.arm for run in read)) == list(ARMS)
    again = read_inputs(yaml.safe_load(inputs_yaml(read))).grid
    assert [a.arm for a in again[:4]] == list(ARMS)
    assert [a.optim for a in again[:4]] == ["sgd", "sgd", "sgd", "adamw_torch"]


def test_a_wide_interval_stays_in_the_figure(recwarn: pytest.WarningsRecorder) -> None:
    runs = [
        make_run(arm, 16, repeat, **{**settings, "rate": rate})
        for repeat, rate in ((1, 500.0), (2, 10.0))
        for arm, settings in ARMS.items()
    ]
    assert "<svg" in step_by_step(analyse(runs))
    assert not [w for w in recwarn if "constrained_layout" in str(w.message)]
