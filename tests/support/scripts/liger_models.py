"""Build every architecture that the installed Liger knows on the meta device, in both arms.

Run it from the project's folder, with PYTHONPATH=. and model types or none for all. It prints the
rows of the table in docs/models-and-data.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.choices import DEFAULT_LIGER_KERNELS
from liger_benchmark.training.causal_models import check_causal
from liger_benchmark.training.dry_pass import build_arm, check_arm
from liger_benchmark.training.isolated_process import ChildFailed, run_isolated, summary
from liger_benchmark.training.liger_kernels import kernels_turned_on, liger_architectures
from liger_benchmark.validation import InvalidInput

# Settings without which the architecture's default configuration describes no model.
NEEDED = {
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
}


def outcome(model_type: str) -> str:
    """`yes`, or why the architecture is refused."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        check_causal(model_type)
    except InvalidInput:
        return "refused: no causal language model in transformers"
    with tempfile.TemporaryDirectory() as folder:
        try:
            CONFIG_MAPPING[model_type](**NEEDED.get(model_type, {})).save_pretrained(folder)
            vanilla = _isolated(build_arm, Path(folder), None, "eager")
            check_arm(
                TrainingArguments(use_liger=True, attn_implementation="eager"),
                Path(folder),
                vanilla,
            )
        except ChildFailed as error:
            return f"refused: {summary(error)}"
        except InvalidInput as error:
            return "on a GPU" if "need a GPU" in str(error) else f"refused: {error}"
    return "yes"


def row(model_type: str) -> str:
    """The architecture's row of the table."""
    kernels = kernels_turned_on(model_type, DEFAULT_LIGER_KERNELS)
    return f"| `{model_type}` | {', '.join(kernels)} | {outcome(model_type)} |"


def _isolated(function: Any, *args: Any) -> Any:
    return run_isolated(function, *args, on_message=lambda message: None)[0]


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(liger_architectures()):
        print(row(name), flush=True)
