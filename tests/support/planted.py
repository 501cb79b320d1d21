"""Faults planted in a run: each is trained in a process of its own, as every run is.

A fault is what a wrong kernel, a forgotten patch or a wrong setting would do, while the run's
settings say that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.run import Run
from liger_benchmark.training import condition, heads, trainer

Send = Callable[[Any], None]
Change = Callable[[Any], None]


def run_planted(fault: str, arguments: TrainingArguments, *folders: Path) -> Run:
    """Run a condition whose arm is called `fault`, with that of `FAULTS` planted.

    Args:
        folders: of the dataset, the model and the output.

    Raises:
        ChildFailed: if the run refuses the fault itself.
    """
    arguments = replace(arguments, arm_name=fault)
    with mock.patch.object(condition, "train", partial(train_planted, fault)):
        return condition.run_condition(arguments, *folders)


def train_planted(
    fault: str, send: Send, arguments: TrainingArguments, *folders: Path
) -> dict[str, Any]:
    """Plant the fault in this process and train; what `condition.train` returns."""
    return condition.train(send, arguments, *folders, callbacks=FAULTS[fault]() or ())


def leave_out_rope() -> None:
    from transformers.models.phi3 import modeling_phi3

    modeling_phi3.apply_rotary_pos_emb = lambda query, key, *args, **kwargs: (query, key)


def leave_out_mlp() -> None:
    from transformers.models.phi3 import modeling_phi3

    modeling_phi3.Phi3MLP.forward = lambda self, x: x * 0.0


def leave_out_one_mlp() -> None:
    def change(model: Any) -> None:
        model.model.layers[1].mlp.forward = lambda x: x * 0.0

    _change_model(change)


def use_relu() -> None:
    import torch

    def change(model: Any) -> None:
        for layer in model.model.layers:
            layer.mlp.activation_fn = torch.nn.ReLU()

    _change_model(change)


def use_another_epsilon() -> None:
    def change(model: Any) -> None:
        model.model.norm.variance_epsilon = 1e-2

    _change_model(change)


def shift_labels_in_the_loss() -> None:
    def change(model: Any) -> None:
        forward = model.forward

        def shifted(*args: Any, labels: Any = None, **kwargs: Any) -> Any:
            return forward(*args, labels=None if labels is None else labels.roll(1, -1), **kwargs)

        model.forward = _with_signature(shifted, forward)

    _change_model(change)


def scale_the_loss(factor: float) -> None:
    def change(model: Any) -> None:
        forward = model.forward

        def scaled(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            output.loss = output.loss * factor
            return output

        model.forward = _with_signature(scaled, forward)

    _change_model(change)


def detach_the_head() -> None:
    import torch

    def change(model: Any) -> None:
        head = model.lm_head
        head.forward = lambda hidden: torch.nn.functional.linear(hidden, head.weight.detach())

    _change_model(change)


def shift_labels_in_the_rows() -> None:
    _change_rows(lambda row: {"labels": row["labels"][1:] + [-100]})


def train_on_other_rows() -> None:
    prepare = condition.prepare_datasets

    def prepare_others(
        folder: Path, tokenizer: Any, arguments: TrainingArguments, *others: Any
    ) -> Any:
        return prepare(folder, tokenizer, replace(arguments, seed=arguments.seed + 1), *others)

    condition.prepare_datasets = prepare_others


def train_in_another_order() -> None:
    prepare = condition.prepare_datasets

    def prepare_reversed(*args: Any) -> Any:
        rows, evaluation = prepare(*args)
        return rows.select(range(len(rows) - 1, -1, -1)), evaluation

    condition.prepare_datasets = prepare_reversed


def start_from_another_seed() -> None:
    _load_with(lambda options: {"seed": options["seed"] + 1})


def use_another_attention() -> None:
    _load_with(lambda options: {"attn_implementation": "eager"})


def leave_one_norm_unpatched() -> None:
    from transformers.models.phi3 import modeling_phi3

    theirs = modeling_phi3.Phi3RMSNorm

    def change(model: Any) -> None:
        model.model.layers[0].input_layernorm = theirs(model.config.hidden_size)

    _change_model(change)


def patch_one_norm() -> None:
    def change(model: Any) -> None:
        from liger_kernel.transformers import LigerRMSNorm

        model.model.layers[0].input_layernorm = LigerRMSNorm(model.config.hidden_size)

    _change_model(change)


def let_the_optimizer_do_nothing() -> None:
    import torch

    torch.optim.SGD.step = lambda self, closure=None: None  # type: ignore[method-assign]


def drop_checkpointing_from_one_layer() -> list[Any]:
    import transformers

    class Drop(transformers.TrainerCallback):
        def on_step_begin(self, *args: Any, model: Any, **kwargs: Any) -> None:
            model.model.layers[0].gradient_checkpointing = False

    return [Drop()]


def compute_the_plain_loss_for_pytorchs() -> None:
    from torch.nn import functional

    def plain(hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
        return functional.cross_entropy(hidden @ weight.t(), labels, reduction="sum")

    heads._torch_loss = plain


def compute_all_logits_for_the_chunked_loss() -> None:
    put_in_place = heads.put_in_place

    def put_and_undo(model: Any, *args: Any, **options: Any) -> Any:
        description = put_in_place(model, *args, **options)
        own = model.forward.__func__
        model.forward = type(model).forward.__get__(model)
        heads.head_in_place = lambda model: own.loss_type
        return description

    heads.put_in_place = put_and_undo


def leave_trls_head_for_the_chunked_loss() -> None:
    """TRL's own head and loss, which works out entropy and accuracy of every token besides."""
    measured = trainer._Measured

    def loss_of_trl(self: Any, *args: Any, **options: Any) -> Any:
        return super(measured, self).compute_loss(*args, **options)

    measured._loss = loss_of_trl  # type: ignore[method-assign]

    def leave(model: Any, *args: Any, **options: Any) -> dict[str, Any]:
        heads.head_in_place = lambda model: heads.CHUNKED
        return {"loss_type": heads.CHUNKED}

    heads.put_in_place = leave


def put_no_head_in_place() -> None:
    def put_nothing(model: Any, *args: Any, **options: Any) -> dict[str, Any]:
        vars(model).pop("forward", None)
        return {}

    heads.put_in_place = put_nothing


def nothing() -> None:
    pass


FAULTS: dict[str, Callable[[], list[Any] | None]] = {
    "RoPE left out": leave_out_rope,
    "MLP left out": leave_out_mlp,
    "one MLP left out": leave_out_one_mlp,
    "ReLU for SiLU": use_relu,
    "another epsilon in one norm": use_another_epsilon,
    "labels shifted in the loss": shift_labels_in_the_loss,
    "labels shifted in the rows": shift_labels_in_the_rows,
    "other rows": train_on_other_rows,
    "another order": train_in_another_order,
    "another seed": start_from_another_seed,
    "loss times 1.05": partial(scale_the_loss, 1.05),
    "loss times 3": partial(scale_the_loss, 3.0),
    "NaN loss": partial(scale_the_loss, float("nan")),
    "detached head": detach_the_head,
    "idle optimizer": let_the_optimizer_do_nothing,
    "one norm unpatched": leave_one_norm_unpatched,
    "one norm patched": patch_one_norm,
    "another attention": use_another_attention,
    "one layer not checkpointed": drop_checkpointing_from_one_layer,
    "plain loss for PyTorch's": compute_the_plain_loss_for_pytorchs,
    "all logits for the chunked loss": compute_all_logits_for_the_chunked_loss,
    "TRL's head for the chunked loss": leave_trls_head_for_the_chunked_loss,
    "no head in place": put_no_head_in_place,
    "nothing": nothing,
}


def _change_model(change: Change) -> None:
    """Call `change` with each model that a condition loads, before the condition checks it."""
    load = condition.load_model

    def load_and_change(*args: Any, **options: Any) -> Any:
        model = load(*args, **options)
        change(model)
        return model

    condition.load_model = load_and_change


def _load_with(changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Load models with some of the options changed."""
    load = condition.load_model
    condition.load_model = lambda *args, **options: load(*args, **{**options, **changed(options)})


def _change_rows(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    prepare = condition.prepare_datasets

    def prepare_changed(*args: Any) -> Any:
        rows, evaluation = prepare(*args)
        return rows.map(change), evaluation

    condition.prepare_datasets = prepare_changed


def _with_signature(function: Any, original: Any) -> Any:
    """Give a function the signature of the model's own forward, which the trainer reads."""
    import inspect

    function.__signature__ = inspect.signature(original)
    return function
