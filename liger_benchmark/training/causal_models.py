"""Which architectures transformers has as causal language models.

The table is parsed from transformers' source instead of imported, which takes seconds: a model that
is none is refused as soon as the command is typed.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from liger_benchmark.validation import InvalidInput

TABLE = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"


@functools.cache
def causal_models() -> dict[str, str]:
    """The class of the causal language model of each `model_type`.

    Raises:
        LookupError: if the installed transformers keeps its table elsewhere than the pinned one.
    """
    package = importlib.util.find_spec("transformers")
    assert package is not None and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0], "models", "auto", "modeling_auto.py")
    # The one statement, since parsing the whole file takes a tenth of a second.
    _, _, rest = source.read_text(encoding="utf-8").partition(f"\n{TABLE} = OrderedDict(")
    table, end, _ = rest.partition("\n)")
    if end:
        return dict(ast.literal_eval(table.strip()))
    raise LookupError(f"{source.name} of the installed transformers has no {TABLE}")


def check_causal(model_type: str) -> None:
    """Refuse an architecture that is no causal language model.

    Raises:
        InvalidInput: naming what to take instead.
    """
    if importlib.util.find_spec("transformers") is None or model_type in causal_models():
        return
    raise InvalidInput(
        f"training_args.model_name: {model_type!r} is no causal language model in the installed "
        "transformers (it may be a vision-language model, or newer); take a model that is trained "
        "on text alone"
    )
