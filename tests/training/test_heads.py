"""Each head computes the plain loss, and what cannot be computed is refused in one line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.tiny import TINY

from liger_benchmark.catalog import MODELS
from liger_benchmark.choices import LOSSES
from liger_benchmark.training import heads
from liger_benchmark.training.head_proof import Sighting, expected_head, head_mismatch, sighting
from liger_benchmark.training.liger_options import check_implementation, n_chunks
from liger_benchmark.training.triton_interpreter import check_without_gpu
from liger_benchmark.validation import InvalidInput

LAYERS = ["rope", "rms_norm", "swiglu"]
TORCHS = pytest.mark.skipif(not heads._torch_has_it(), reason="torch has no fused head")


def tiny_model(name: str = "llama-tiny", **changes: Any) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**(MODELS[name] | changes))
    return transformers.AutoModelForCausalLM.from_config(config)


def batch() -> dict[str, Any]:
    import torch

    ids = torch.randint(500, (2, 24), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[0, :10] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


@pytest.mark.parametrize("changes", [{}, {"name": "gemma3-tiny"}, {"name": "qwen3-tiny"}], ids=str)
@pytest.mark.parametrize("n_items", [None, 77])
@pytest.mark.parametrize("loss_type", ["chunked_nll", pytest.param("torch", marks=TORCHS)])
def test_an_own_head_has_the_models_loss_and_gradients(
    loss_type: str, n_items: int | None, changes: dict[str, Any]
) -> None:
    import torch

    model = tiny_model(**changes)
    expected = model(**batch(), num_items_in_batch=n_items).loss
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    heads.put_in_place(model, loss_type, None, random_weights=True)
    assert heads.head_in_place(model) == loss_type
    with sighting(model) as seen:
        loss = model(**batch(), num_items_in_batch=n_items).loss
    seen.see(loss)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)
    assert seen.head == loss_type
    assert not seen.computed_logits


def test_without_labels_an_own_head_gives_logits() -> None:
    model = tiny_model()
    heads.put_in_place(model, "chunked_nll", None, random_weights=True)
    inputs = {name: value for name, value in batch().items() if name != "labels"}
    assert model(**inputs).logits.shape == (2, 24, 512)


def test_the_chunked_loss_scales_and_caps_the_logits_as_the_model_does() -> None:
    import torch

    model = tiny_model("gemma3-tiny", final_logit_softcapping=3.0)
    expected = model(**batch()).loss
    heads.put_in_place(model, "chunked_nll", None, random_weights=True)
    torch.testing.assert_close(model(**batch()).loss, expected, rtol=1e-5, atol=1e-5)
    granite = SimpleNamespace(model_type="granite", logits_scaling=4.0)
    assert heads._logit_scale(granite) == 0.25
    assert heads._logit_scale(SimpleNamespace(model_type="cohere", logit_scale=0.0625)) == 0.0625
    assert heads._logit_scale(SimpleNamespace(model_type="llama")) == 1.0


def test_the_plain_loss_takes_off_what_trl_has_set_and_keeps_what_was_there_before() -> None:
    model = tiny_model()
    model.forward = lambda **inputs: "TRL's"
    heads.put_in_place(model, "nll", None, random_weights=True)
    assert "forward" not in vars(model)
    before = lambda **inputs: "somebody's"  # noqa: E731
    model.forward = lambda **inputs: "TRL's"
    heads.put_in_place(model, "nll", before, random_weights=True)
    assert vars(model)["forward"] is before


def test_a_head_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *args: None if name == "cut_cross_entropy" else found(name, *args),
    )
    with pytest.raises(InvalidInput, match="loss_type: cce needs the package cut-cross-entropy"):
        heads.check_head("cce")
    for loss_type in ("nll", "chunked_nll", "trl"):
        heads.check_head(loss_type)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"loss_type": "cce", "bf16": True}, "loss_type: cce"),
        ({"use_hub_kernels": True}, "use_hub_kernels: true"),
        ({"liger_implementation": "cutedsl"}, "liger_implementation: cutedsl"),
    ],
)
def test_what_needs_a_gpu_is_one_line_without_one(changes: dict[str, Any], setting: str) -> None:
    with pytest.raises(InvalidInput, match=f"{setting} needs a GPU"):
        check_without_gpu(replace(TINY, **changes))


def test_what_cannot_be_combined_is_one_line() -> None:
    for changes, problem in (
        ({"loss_type": "cce"}, "loss_type: cce has no backward pass in fp32"),
        ({"use_liger": True, "loss_type": "trl"}, "both replace the loss"),
        ({"use_liger": True, "use_hub_kernels": True}, "both replace the layers"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            replace(TINY, **changes)


def test_cutedsl_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: None)
    arguments = replace(TINY, use_liger=True, liger_implementation="cutedsl")
    with pytest.raises(InvalidInput, match="cutedsl needs the package nvidia-cutlass-dsl"):
        check_implementation(arguments)


def test_a_torch_without_the_head_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "functional.py").write_text("def cross_entropy(): ...\n")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: spec)
    with pytest.raises(InvalidInput, match=r"loss_type: torch needs a PyTorch .*2\.13") as error:
        heads.check_head("torch")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("loss_type", "config", "lacks"),
    [
        ("cce", {"num_experts": 8}, "load-balancing"),
        ("chunked_nll", {"text_config": {"num_local_experts": 8}}, "load-balancing"),
        ("torch", {"final_logit_softcapping": 30.0}, "capping"),
        ("cce", {"logit_scale": 0.0625}, "scaling"),
        ("torch", {"logits_scaling": 8.0}, "scaling"),
    ],
)
def test_a_head_that_would_compute_another_loss_is_refused(
    loss_type: str, config: dict[str, Any], lacks: str
) -> None:
    with pytest.raises(InvalidInput, match=f"loss_type: {loss_type} lacks the {lacks}"):
        heads.check_architecture(loss_type, config)
    heads.check_architecture("nll", config)
    heads.check_architecture("trl", config)
    for known in LOSSES:
        heads.check_architecture(known, MODELS["gemma-3-1b"])


def test_a_head_with_a_bias_is_refused_where_the_loss_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(heads, "check_head", lambda loss_type: None)  # its package may be missing
    model = tiny_model()
    model.lm_head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size)
    with pytest.raises(InvalidInput, match="loss_type: cce lacks the bias") as error:
        heads.put_in_place(model, "cce", None, random_weights=True)
    assert "\n" not in str(error.value)
    assert heads.put_in_place(model, "chunked_nll", None, random_weights=True)


def test_the_head_is_known_by_the_functions_of_its_graph() -> None:
    liger = "liger_kernel.ops.fused_linear_cross_entropy.LigerFusedLinearCrossEntropyFunction"
    known = {
        "nll": Sighting(["torch.NllLossBackward0"], computed_logits=True),
        "chunked_nll": Sighting(["torch.NllLossBackward0"]),
        "trl": Sighting(["trl.kernels.chunked_logprob.ChunkedLogProbFunctionBackward"]),
        "cce": Sighting(["cut_cross_entropy.cce.LinearCrossEntropyFunctionBackward"]),
        "Liger's fused loss": Sighting([f"{liger}Backward"]),
    }
    for head, seen in known.items():
        assert seen.head == head
    assert Sighting(["torch.CompiledFunctionBackward"]).head is None


def test_another_head_than_expected_is_named() -> None:
    facts = {"expected": "cce", "seen": "nll"}
    assert head_mismatch(facts) == (
        "loss_type: the arm's head is cut-cross-entropy, and the loss was computed by the plain "
        "loss over all logits"
    )
    for expected in ("cce", None):
        for seen in ("cce", None):
            assert head_mismatch({"expected": expected, "seen": seen}) is None
    assert head_mismatch({}) is None


def test_the_expected_head_follows_from_the_arguments() -> None:
    liger = replace(TINY, use_liger=True)
    assert expected_head(TINY, "phi3") == "nll"
    assert expected_head(liger, "phi3") == "Liger's fused loss"
    assert expected_head(liger, "granite") == "Liger's cross-entropy"
    assert expected_head(replace(liger, liger_kernels=LAYERS), "phi3") == "nll"
    layers = replace(liger, liger_kernels=LAYERS, loss_type="torch")
    assert expected_head(layers, "phi3") == "torch"
    assert expected_head(replace(TINY, use_hub_kernels=True), "phi3") is None


# cut-cross-entropy has a backward pass in 16 bits only, and there is no GPU: its own kernels are
# interpreted in fp16, in a process where Triton has not been imported.
CCE = """
from liger_benchmark.training import heads, triton_interpreter
triton_interpreter.enable()
import torch
from torch.nn import functional as F
generator = torch.Generator().manual_seed(0)
hidden = torch.randn(40, 64, generator=generator).half().requires_grad_()
weight = (torch.randn(300, 64, generator=generator) / 8).half().requires_grad_()
labels = torch.randint(300, (40,), generator=generator)
labels[:10] = -100
compute, description = heads._own_loss("cce", type("Config", (), {}), True)
assert description == {"gradient_filter": False}, description
loss = compute(hidden, weight, None, labels)
plain = F.cross_entropy((hidden.float() @ weight.float().t()), labels, reduction="sum")
torch.testing.assert_close(loss.float(), plain, rtol=2e-3, atol=2e-2)
ours = torch.autograd.grad(loss, (hidden, weight))
for gradient, expected in zip(ours, torch.autograd.grad(plain, (hidden, weight))):
    torch.testing.assert_close(gradient.float(), expected.float(), rtol=2e-2, atol=5e-3)
assert heads._own_loss("cce", type("Config", (), {}), False)[1] == {"gradient_filter": True}
"""


@pytest.mark.skipif(
    importlib.util.find_spec("cut_cross_entropy") is None, reason="cut-cross-entropy is missing"
)
def test_cut_cross_entropy_has_the_plain_loss_and_gradients_without_its_filter() -> None:
    project = Path(heads.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CCE], cwd=project, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("tokens", "vocabulary", "hidden_size", "constant", "chunks"),
    [
        # The example in Liger's source: chunks of 2,048 tokens.
        (16384, 32000, 4096, 1, 8),
        (8192, 151936, 1024, 1, 128),
        (8192, 151936, 1024, 16, 8),
        (100, 1000, 1000, 1, 1),
    ],
)
def test_the_number_of_ligers_chunks_follows_its_formula(
    tokens: int, vocabulary: int, hidden_size: int, constant: int, chunks: int
) -> None:
    assert n_chunks(tokens, vocabulary, hidden_size, constant) == chunks
