"""The head of a live model: what turns its last hidden states into a loss.

`loss_type` names it:

* `nll`: the model's own forward. transformers computes all logits and then the loss; Liger's fused
  loss and the Hub's kernels are such a forward, too.
* `chunked_nll`: the loss of `chunked_loss`.
* `trl`: what the installed TRL's SFTTrainer puts in place by itself, with the entropy and accuracy
  that it computes besides.
* `cce`: Apple's cut-cross-entropy.
* `torch`: PyTorch's own fused linear cross-entropy, from 2.13 on.

From 1.15 on TRL sets a `forward` on the model's instance, whatever the settings. Every other arm
takes it off again, so that the class's forward (transformers' or Liger's) is what runs.
"""

from __future__ import annotations

import functools
import importlib.util
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import liger_options
from liger_benchmark.training.adapters import base_model
from liger_benchmark.training.chunked_loss import chunked_loss
from liger_benchmark.training.dataset import IGNORED
from liger_benchmark.training.experts import n_experts
from liger_benchmark.validation import InvalidInput

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PLAIN, CHUNKED, TRL, CCE, TORCH = "nll", "chunked_nll", "trl", "cce", "torch"
# Computed here, from hidden states and the head's weight.
OWN = (CHUNKED, CCE, TORCH)
# Functions that TRL sets as a model's forward: from 1.15 on, and until 1.14.
_TRLS_FORWARDS = ("_fused_forward", "_chunked_ce_forward")
# Keys of a configuration by which an architecture scales its logits; see TRL's `add_fused_lm_head`.
_SCALES = ("logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")
_SOFTCAPPING = "final_logit_softcapping"


def check_head(loss_type: str) -> None:
    """Refuse a head whose package is not installed. Nothing is imported.

    Raises:
        InvalidInput: naming the package.
    """
    key = f"training_args.loss_type: {loss_type}"
    if loss_type == CCE and importlib.util.find_spec("cut_cross_entropy") is None:
        raise InvalidInput(
            f"{key} needs the package cut-cross-entropy, which is not installed; "
            'pip install "liger-benchmark[cce]"'
        )
    if loss_type == TORCH and not _torch_has_it():
        raise InvalidInput(
            f"{key} needs a PyTorch with a fused linear cross-entropy (2.13 or later), and the "
            "installed one has none; leave this arm out"
        )


def _torch_has_it() -> bool:
    package = importlib.util.find_spec("torch")
    if package is None or not package.submodule_search_locations:
        return False
    source = Path(package.submodule_search_locations[0], "nn", "functional.py")
    return "LinearCrossEntropyOptions" in source.read_text(encoding="utf-8")


def check_architecture(loss_type: str, config: Mapping[str, Any]) -> None:
    """Refuse a head that would compute another loss for this architecture.

    Args:
        config: the model's `config.json`.

    Raises:
        InvalidInput: naming what the head lacks.
    """
    if loss_type not in OWN:
        return
    text = config.get("text_config") or config
    scaled = any(text.get(name) not in (None, 1, 1.0) for name in _SCALES)
    for lacks, what in (
        (n_experts(text) > 0, "the load-balancing loss of a mixture of experts"),
        (scaled and loss_type != CHUNKED, "the scaling of this model's logits"),
        (bool(text.get(_SOFTCAPPING)) and loss_type == TORCH, "the capping of this model's logits"),
    ):
        if lacks:
            raise InvalidInput(
                f"training_args.loss_type: {loss_type} lacks {what}; leave this arm out"
            )


def check_bias(loss_type: str, has_bias: bool) -> None:
    """Refuse a head that would leave out the bias of the model's head.

    Raises:
        InvalidInput: if the model has one and the loss has none.
    """
    if loss_type == CCE and has_bias:
        raise InvalidInput(
            f"training_args.loss_type: {loss_type} lacks the bias that this model's head has; "
            "leave this arm out"
        )


def put_in_place(
    model: PreTrainedModel, loss_type: str, forward: Any, *, random_weights: bool
) -> dict[str, Any]:
    """Give the model the head of its arm. The trainer must have been built, and not yet trained.

    Args:
        forward: what the model's instance had as its own forward before the trainer was built;
            None if it was the class's.
        random_weights: whether the weights are those of no trained model.

    Returns:
        The head's description for the record.

    Raises:
        InvalidInput: as `check_head` and `check_bias`.
    """
    model = base_model(model)
    if loss_type == TRL:
        return {"loss_type": TRL}
    vars(model).pop("forward", None)
    if forward is not None:
        model.forward = forward
    if loss_type not in OWN:
        return {"loss_type": loss_type}
    check_head(loss_type)
    check_bias(loss_type, getattr(model.get_output_embeddings(), "bias", None) is not None)
    compute, description = _own_loss(loss_type, model.config.get_text_config(), random_weights)
    model.forward = types.MethodType(_forward_with(compute, type(model), loss_type), model)
    return {"loss_type": loss_type, **description}


def _own_loss(
    loss_type: str, config: Any, random_weights: bool
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A function of (hidden, weight, bias, labels) that sums the losses, and its description."""
    import torch

    softcapping = getattr(config, _SOFTCAPPING, None)
    if loss_type == CHUNKED:
        scale = _logit_scale(config)
        return functools.partial(chunked_loss, logit_scale=scale, softcapping=softcapping), {}
    if loss_type == CCE:
        import cut_cross_entropy

        # On random weights nearly all probabilities are small enough for its filter to skip their
        # gradients, which no trained model's are.
        compute = functools.partial(
            _cce_loss,
            softcap=softcapping,
            filter_eps=None if random_weights else "auto",
            function=cut_cross_entropy.linear_cross_entropy,
        )
        return torch.compiler.disable(compute), {"gradient_filter": not random_weights}
    return _torch_loss, {}


def _logit_scale(config: Any) -> float:
    """What the logits are multiplied with; Granite and MiniCPM 3 divide by their setting."""
    for name in _SCALES:
        value = getattr(config, name, None)
        if value is not None:
            divides = name == "logits_scaling" and config.model_type != "hyperclovax"
            return 1 / value if divides else value
    return 1.0


def _cce_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    *,
    softcap: float | None,
    filter_eps: str | None,
    function: Callable[..., torch.Tensor],
) -> torch.Tensor:
    return function(
        hidden,
        weight.to(hidden.dtype),
        labels,
        ignore_index=IGNORED,
        softcap=softcap,
        reduction="sum",
        filter_eps=filter_eps,
    )


def _torch_loss(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> torch.Tensor:
    import torch

    options = cast(Any, torch.nn).LinearCrossEntropyOptions()
    return cast(Any, torch.nn.functional).linear_cross_entropy(
        hidden,
        weight.to(hidden.dtype),
        labels,
        linear_bias=bias,
        reduction="sum",
        ignore_index=IGNORED,
        options=options,
    )


def _forward_with(
    compute: Callable[..., Any], model_class: type, loss_type: str
) -> Callable[..., Any]:
    """A forward method that computes the loss by `compute`; without labels it is the class's.

    The loss is summed and divided by the number of labels, as transformers does.
    """
    original = cast(Any, model_class).forward

    # The signature says to the trainer which columns the model takes.
    @functools.wraps(original)
    def forward(
        self: Any, *args: Any, labels: Any = None, num_items_in_batch: Any = None, **kwargs: Any
    ) -> Any:
        from transformers.modeling_outputs import CausalLMOutputWithPast

        if labels is None:
            return original(self, *args, **kwargs)
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        targets = labels[:, 1:].reshape(-1)
        head = self.get_output_embeddings()
        loss = compute(hidden.reshape(-1, hidden.size(-1)), head.weight, head.bias, targets)
        if num_items_in_batch is None:
            n_labels = (targets != IGNORED).sum().clamp(min=1)
        else:
            n_labels = num_items_in_batch
        return CausalLMOutputWithPast(loss=loss.float() / n_labels)

    forward.loss_type = loss_type  # type: ignore[attr-defined]
    return forward


def head_in_place(model: PreTrainedModel) -> str:
    """The `loss_type` of the live model, by the function that is its forward method."""
    function: Any = getattr(base_model(model).forward, "__func__", base_model(model).forward)
    if function.__code__.co_name in _TRLS_FORWARDS:
        return TRL
    return getattr(function, "loss_type", PLAIN)


def put_arms_head_in_place(
    arguments: TrainingArguments, model: PreTrainedModel, forward: Any, record: dict[str, Any]
) -> None:
    """Give the live model its arm's head, verify that it is there, and record it.

    Args:
        forward: see `put_in_place`.

    Raises:
        RuntimeError: if another head is in place.
    """
    random_weights = record["weights"]["origin"] == "random"
    model = base_model(model)
    record["head"] = put_in_place(
        model, arguments.loss_type, forward, random_weights=random_weights
    )
    record["head"] |= liger_options.describe_chunks(arguments, model.config)
    record["loss"] = head_in_place(model)
    if record["loss"] != arguments.loss_type:
        raise RuntimeError(
            f"loss_type: {arguments.loss_type} was asked for, and the live model computes "
            f"{record['loss']}"
        )
