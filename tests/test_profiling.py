"""A profile attributes every kernel and the idle time of a step to a kind of work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liger_benchmark import profiling
from liger_benchmark.experiment.inputs_file import read_inputs_file
from liger_benchmark.kernel_kinds import IDLE, by_kind, kind_of, summary
from liger_benchmark.profiling import choose
from liger_benchmark.sources.fetch import SourceUnavailable
from liger_benchmark.training.environment import visible_gpu

PROJECT = Path(__file__).parent.parent
PROFILES = sorted((PROJECT / "results").glob("*/profile.json"))


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_sm90_tst_256x128_64x4_1x2_h_bz_coopA_NNT", "matrix products"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16", "attention"),
        ("triton_tem_fused_flex_attention_backward_transpose_view_5", "attention"),
        ("liger_cross_entropy_kernel", "loss"),
        ("_rms_norm_backward_kernel", "norm"),
        ("_triton_rope", "rope"),
        ("_swiglu_forward_kernel", "gated MLP"),
        ("void at::native::multi_tensor_apply_kernel<…>", "optimizer"),
        ("triton_per_fused__to_copy_add_div_expand_mul_pow_sum_view_3", "fused by Inductor"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("void at::native::vectorized_elementwise_kernel<4, …>", "elementwise"),
        ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "communication"),
        ("something_new", "other"),
    ],
)
def test_a_kernels_kind_follows_from_its_name(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind


def test_kinds_and_idle_time_add_up_to_the_step() -> None:
    table = by_kind(
        {"milliseconds": {"nvjet_a": 6.0, "nvjet_b": 1.0, "x": 0.5}, "wall_milliseconds": 10.0}
    )
    assert table.loc["matrix products", "milliseconds"] == 7.0
    assert table.loc[IDLE, "milliseconds"] == 2.5
    assert table["share"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("path", PROFILES, ids=[path.parent.name for path in PROFILES])
def test_the_published_profiles_are_explained(path: Path) -> None:
    profile = json.loads(path.read_text())
    table = by_kind(profile)
    assert table.index[0] == "matrix products"
    assert table["share"].get("other", 0.0) < 0.02
    assert "of it" in summary(profile)
    assert f"{profile['matmul_tflops']:.0f} TFLOP/s measured" in summary(profile)


def test_the_condition_is_chosen_by_name_and_a_wrong_name_lists_the_valid_ones() -> None:
    inputs = read_inputs_file(PROJECT / "examples" / "fastest_128.yaml")
    grid = inputs.grid
    chosen = choose(grid, "vanilla + torch_compile", 48)
    assert (chosen.torch_compile, chosen.use_liger) == (True, False)
    assert choose(grid, None, None).per_device_train_batch_size == 128
    with pytest.raises(ValueError, match=r"--arm: .* is no arm of this grid; did you mean Liger"):
        choose(grid, "liger", None)
    with pytest.raises(ValueError, match="--batch-size: 7 is not in this grid; it has 48, 128"):
        choose(grid, None, 7)


@pytest.mark.skipif(visible_gpu() is not None, reason="is about a machine without a GPU")
def test_without_a_gpu_the_command_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert profiling.main([str(PROJECT / "examples" / "arms.yaml")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("profiling: ") and "there is no GPU" in error
    assert "\n" not in error


def test_an_arm_of_another_environment_is_refused_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profiling.environment, "visible_gpu", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(profiling, "fetch_dataset", None)
    assert profiling.main([str(PROJECT / "examples" / "versions.yaml")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith('profiling: --arm: "Liger + other" takes its libraries from')
    assert '"other"' in error and "\n" not in error


def inputs_file(folder: Path, **settings: object) -> str:
    """An inputs file of a tiny model with other settings."""
    file = folder / "inputs.yaml"
    arguments: dict[str, object] = {
        "model_name": "builtin:phi3-tiny",
        "dataset_name": "builtin:instructions",
    } | settings
    file.write_text(
        json.dumps(
            {"experiment_args": {"per_device_train_batch_size": [2]}, "training_args": arguments}
        )
    )
    return str(file)


def test_what_the_machine_cannot_run_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profiling.environment, "visible_gpu", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(profiling.environment, "visible_devices", lambda: ["0"])
    monkeypatch.setattr(profiling, "fetch_dataset", None)
    assert profiling.main([inputs_file(tmp_path, n_gpus=2)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("profiling: training_args.n_gpus: 2 are asked for")
    assert "\n" not in error


def test_a_model_that_cannot_be_fetched_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch_model(name: str, folder: Path) -> Path:
        raise SourceUnavailable("the Hub has no model 'org/nothing'; give a folder")

    monkeypatch.setattr(profiling.environment, "visible_gpu", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(profiling.environment, "visible_devices", lambda: ["0"])
    monkeypatch.setattr(profiling, "fetch_model", fetch_model)
    assert profiling.main([inputs_file(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error == "profiling: the Hub has no model 'org/nothing'; give a folder\n"


@pytest.mark.gpu
def test_on_a_gpu_a_step_is_profiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "profile.json"
    inputs = tmp_path / "inputs.yaml"
    inputs.write_text(
        "experiment_args: {per_device_train_batch_size: [2]}\n"
        "training_args: {model_name: 'builtin:phi3-tiny', dataset_name: 'builtin:instructions'}\n"
    )
    assert profiling.main([str(inputs), "--arm", "vanilla", "--output", str(output)]) == 0
    assert "matrix products" in capsys.readouterr().out
    assert json.loads(output.read_text())["matmul_tflops"] > 1
