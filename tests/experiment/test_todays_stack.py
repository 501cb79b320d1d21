"""The example of today's stack: each arm's own head ran, and all compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from liger_benchmark.analysis.validity import invalid_reasons
from liger_benchmark.choices import VANILLA
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.experiment.preflight import check_experiment
from liger_benchmark.run import COMPLETED
from liger_benchmark.sources.fetch import fetch_dataset, fetch_model
from liger_benchmark.training.condition import run_condition

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADS = {
    "vanilla": "nll",
    "vanilla + chunked_nll": "chunked_nll",
    "vanilla + max_grad_norm=0": "nll",
    "TRL": "trl",
    "torch loss": "torch",
    "Liger": "Liger's fused loss",
    "Liger + liger_chunk_mem_const=16": "Liger's fused loss",
    "Liger layers + TRL": "trl",
    "Liger layers + torch loss": "torch",
}


def test_every_arm_of_the_example_runs_its_own_head_and_computes_the_same(tmp_path: Path) -> None:
    grid = [
        # As it is, but shorter: the interpreter is slow.
        replace(arguments, max_steps=2, max_seq_length=16)
        for arguments in read_inputs_file(EXAMPLES / "todays_stack.yaml").grid
    ]
    check_experiment(grid, on_cluster=False, gpu=None)
    assert {arguments.arm for arguments in grid} == HEADS.keys()
    dataset = fetch_dataset(grid[0].dataset_name, tmp_path / "dataset")
    model = fetch_model(grid[0].model_name, tmp_path / "model")
    runs = [run_condition(arguments, dataset, model, tmp_path / "out") for arguments in grid]
    for run in runs:
        head = run.record["proof"]["head"]
        assert run.outcome == COMPLETED
        assert head["seen"] == head["expected"] == HEADS[run.training_args.arm]
        clips = run.training_args.max_grad_norm > 0
        assert ("grad_norm" in run.history) == clips
    assert invalid_reasons(runs, VANILLA) == {}


@pytest.mark.parametrize("path", sorted((EXAMPLES / "h100").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_grids_for_a_gpu_compare_with_vanilla_and_trls_default(path: Path) -> None:
    grid = read_inputs_file(path).grid
    arms = {arguments.arm for arguments in grid}
    assert {"vanilla", "TRL"} <= arms
    assert len(arms) >= 7 or "_compiled" in path.stem
    assert {arguments.run for arguments in grid} == {1, 2}
