"""The dry pass over every architecture that the installed Liger knows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import DEFAULT_LIGER_KERNELS
from liger_benchmark.training.causal_models import causal_models
from liger_benchmark.training.dry_pass import build_arm, check_arm
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated, summary
from liger_benchmark.training.liger_kernels import kernels_turned_on
from liger_benchmark.training.meta_model import Shape
from liger_benchmark.validation import InvalidInput

# Settings without which the architecture's default configuration describes no model.
NEEDED = {
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
}


def kernels(model_type: str) -> str:
    """The kernels of Liger that the default of `liger_kernels` turns on, as the table has them."""
    return ", ".join(kernels_turned_on(model_type, DEFAULT_LIGER_KERNELS))


def outcomes(model_types: Sequence[str]) -> dict[str, str]:
    """What the dry pass says of both arms, as the table has it: `yes`, or why it is refused."""
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: Path(folder) / name for name in model_types if name in causal_models()}
        vanilla = run_isolated(build_each, folders, on_message=print)[0]
        for name in model_types:
            if name not in folders:
                said[name] = "refused: no causal language model in transformers"
            elif isinstance(vanilla[name], str):
                said[name] = f"refused: {vanilla[name]}"
            else:
                said[name] = _outcome(folders[name], vanilla[name])
    return said


def build_each(send: Any, folders: Mapping[str, Path]) -> dict[str, Shape | str]:
    """The models without Liger, of default configurations that it writes; or why not. In a child.

    All in one process: without Liger none of them changes another.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    built: dict[str, Shape | str] = {}
    for name, folder in folders.items():
        try:
            CONFIG_MAPPING[name](**NEEDED.get(name, {})).save_pretrained(folder)
            built[name] = build_arm(send, folder, None, "eager")
        except Exception as error:
            built[name] = summary(error)
    return built


def _outcome(folder: Path, vanilla: Shape) -> str:
    arguments = TrainingArguments(use_liger=True, attn_implementation="eager")
    try:
        check_arm(arguments, folder, vanilla)
    except ChildFailed as error:
        return f"refused: {summary(error)}"
    except InvalidInput as error:
        return "on a GPU" if "need a GPU" in str(error) else f"refused: {error}"
    return "yes"
