"""The part of the report that answers the question: who won, by how much, how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from liger_benchmark.analysis import (
    BATCH_SIZE,
    CPU_MEMORY,
    Analysis,
)
from liger_benchmark.claims import (
    PUBLISHED_MEMORY_SAVING,
    PUBLISHED_SPEEDUP,
    against_range,
    verdict_sentence,
)
from liger_benchmark.figures import (
    memory_bars,
    throughput_bars,
)
from liger_benchmark.merging import COMPARED_PACKAGES
from liger_benchmark.report_html import (
    Cell,
    Column,
    escape,
    figure,
    items,
    number_cell,
    paragraph,
    table,
)
from liger_benchmark.wording import (
    NO_VALUE,
    all_the_same,
    baseline_first,
    count_of_parameters,
    enumerate_words,
    gibibytes,
    known,
    number,
    percent_range,
    plural,
    signed,
    small_fraction,
)

_METHOD = (
    "Only completed runs enter a mean. ± is a 95 % interval: Student’s t over the repeats. "
    "Speed-up and saving compare repeat i of one arm with repeat i of the other; their intervals "
    "are t intervals on the mean log ratio, so they differ slightly from the ratio of the means. "
    "Tokens include padding, as in the blog."
)


def results(analysis: Analysis) -> str:
    """The body of "Benchmarking Results": headline, verdict, both bar plots, the table."""
    parts = [
        "".join(paragraph(text, "notice") for text in _notices(analysis)),
        paragraph(analysis.headline, "headline"),
        paragraph(_what_was_run(analysis), "what"),
        _verdict(analysis),
        items((text for text in analysis.warnings if text not in _notices(analysis)), "warnings"),
        _bar_plots(analysis),
        "<h3>By batch size</h3>",
        _comparison_table(analysis),
        paragraph(f"{_METHOD} {_peak(analysis)}", "note"),
    ]
    return "".join(parts)


def _notices(analysis: Analysis) -> list[str]:
    return [] if analysis.device.timings_count else analysis.warnings[:1]


def _what_was_run(analysis: Analysis) -> str:
    args = analysis.runs[0].training_args
    weights, environment = _first(analysis, "weights"), _first(analysis, "environment")
    packages = environment.get("packages", {})
    size, limit = weights.get("n_parameters"), args.gpu_memory_limit_gib
    origin = {
        "random": "random weights",
        "hub": "weights from the Hub",
        "folder": "weights from a folder",
    }.get(weights.get("origin", ""), "")
    started = min(
        (r.record["started_at"] for r in analysis.runs if "started_at" in r.record), default=""
    )
    texts = [
        args.model_name + (f" ({count_of_parameters(size)} parameters)" if size else ""),
        origin,
        f"data {args.dataset_name}",
        f"up to {args.max_seq_length} tokens a sequence",
        f"{args.max_steps} steps, {args.n_warmup_steps} of them warm-up",
        "bf16" if args.bf16 else "fp32",
        args.optim,
        plural(max(run.training_args.run for run in analysis.runs), "repeat"),
        analysis.device.name + (f", memory capped at {limit:g} GiB" if limit else ""),
        *(f"{name} {packages[name]}" for name in COMPARED_PACKAGES if name in packages),
        started[:10],
    ]
    return " · ".join(text for text in texts if text)


def _first(analysis: Analysis, part: str) -> dict[str, Any]:
    """The part of the first record that has it."""
    return next((run.record[part] for run in analysis.runs if run.record.get(part)), {})


def _verdict(analysis: Analysis) -> str:
    text = verdict_sentence(analysis.claims)
    rows = [
        [Cell(c.name), Cell(c.published), Cell(c.measured), Cell(c.judgement)]
        for c in analysis.claims
    ]
    columns = [Column(name) for name in ("Claim", "Published", "Measured here", "Judgement")]
    caption = "What the blog reports, and what this grid shows"
    return f'<h3 class="verdict">{escape(text)}</h3>' + table(caption, columns, rows)


def _bar_plots(analysis: Analysis) -> str:
    limit = analysis.runs[0].training_args.gpu_memory_limit_gib
    memory = memory_name(analysis)
    caption = "Bars: mean of the repeats that completed"
    if analysis.cells["tokens_per_second_low"].notna().any():
        caption += "; lines on them: 95 % interval"
    incomplete = analysis.cells[analysis.cells["n_completed"] < analysis.cells["n_runs"]]
    if (incomplete["n_completed"] > 0).any():
        caption += "; “2 of 3”: repeats that completed, where not all did"
    if analysis.cells["n_out_of_memory"].any():
        caption += "; OOM: out of memory"
    alt = "; ".join(
        f"{row['arm']} at {row[BATCH_SIZE]}: {_cell_in_words(row)}"
        for _, row in analysis.cells.iterrows()
    )
    return (
        "<h3>Throughput</h3>"
        + figure(throughput_bars(analysis.cells), f"Bar plot by batch size. {alt}.", f"{caption}.")
        + f"<h3>{escape(memory)}</h3>"
        + figure(
            memory_bars(analysis.cells, memory.lower(), limit),
            f"Bar plot of {memory.lower()} by batch size. {alt}.",
            f"{caption}; dashed: the memory limit." if limit else f"{caption}.",
        )
    )


def memory_name(analysis: Analysis) -> str:
    """What the memory figures are: the allocator's on a GPU, the process's on a CPU."""
    on_cpu = analysis.memory_column == CPU_MEMORY
    return "Peak resident set" if on_cpu else "Peak reserved memory"


def _cell_in_words(cell: pd.Series) -> str:
    if not cell["n_completed"]:
        return outcome_words(cell)
    text = f"{number(cell['tokens_per_second'])} tokens per second"
    if known(cell["peak_memory_MB"]):
        text += f", {gibibytes(cell['peak_memory_MB'])} GiB"
    return text if cell["n_completed"] == cell["n_runs"] else f"{text} ({outcome_words(cell)})"


def outcome_words(cell: pd.Series) -> str:
    """What became of a cell's runs: `out of memory`, or with counts where they differ."""
    words = {"n_completed": "completed", "n_out_of_memory": "out of memory", "n_failed": "failed"}
    there = [(int(cell[key]), word) for key, word in words.items() if cell[key]]
    if len(there) == 1:
        return there[0][1]
    return enumerate_words(f"{count} {word}" for count, word in there)


def _comparison_table(analysis: Analysis) -> str:
    cells, comparison = analysis.cells, analysis.comparison.set_index(BATCH_SIZE)
    arms = baseline_first(cells["arm"])
    with_mfu = cells["mfu"].notna().any()
    columns = [Column("Batch size", True)]
    columns += [Column(f"{arm}, tokens/s", True) for arm in arms]
    if len(arms) > 1:
        columns.append(Column("Speed-up", True))
    columns += [Column(f"{arm}, GiB", True) for arm in arms]
    if len(arms) > 1:
        columns.append(Column("Saving", True))
    if with_mfu:
        columns.append(Column("MFU in %", True))
    if len(arms) > 1:
        columns += [Column("Loss difference", True), Column("Against the published")]
    rows = []
    for size in sorted(cells[BATCH_SIZE].unique()):
        of_size = cells[cells[BATCH_SIZE] == size].set_index("arm")
        pair = comparison.loc[size] if size in comparison.index else None
        row = [Cell(str(size), value=size, is_number=True)]
        row += [_mean_cell(of_size, arm, "tokens_per_second", 1.0, 0) for arm in arms]
        if pair is not None:
            row.append(_gain_cell(pair, "speedup"))
        row += [_mean_cell(of_size, arm, "peak_memory_MB", 1024.0, 2) for arm in arms]
        if pair is not None:
            row.append(_gain_cell(pair, "memory_saving"))
        if with_mfu:
            row.append(_mfu_cell(of_size, arms))
        if pair is not None:
            difference = pair["loss_difference"]
            mark = "above bound" if pair["loss_above_bound"] else ""
            text = small_fraction(difference) if known(difference) else ""
            row += [number_cell(difference, text, mark), _against(pair, of_size, analysis)]
        rows.append(row)
    caption = f"Means with their 95 % intervals; GiB: {memory_name(analysis).lower()}"
    if with_mfu:
        caption += f"; MFU: {' / '.join(arms)}"
    caption += _equal_repeats(cells)
    return table(f"{caption}.", columns, rows, "dense")


def _equal_repeats(cells: pd.DataFrame) -> str:
    """What the caption says about memory, which often is the same in every repeat."""
    spread = cells[cells["peak_memory_MB_low"].notna()]
    same = [*map(all_the_same, spread["peak_memory_MB_low"], spread["peak_memory_MB_high"])]
    if not any(same):
        return ""
    if all(same):
        return "; memory was the same in every repeat"
    return "; memory without ± was the same in every repeat"


def _mean_cell(of_size: pd.DataFrame, arm: str, column: str, scale: float, decimals: int) -> Cell:
    if arm not in of_size.index:
        return Cell("not run", is_number=True)
    cell = of_size.loc[arm]
    value = cell[column] / scale
    if not known(value):
        text = "OOM" if cell["n_out_of_memory"] and not cell["n_failed"] else outcome_words(cell)
        return Cell(NO_VALUE if cell["n_completed"] else text, is_number=True)
    half = cell[f"{column}_high"] / scale - value
    detail = ""
    if known(half) and not all_the_same(cell[f"{column}_low"], cell[f"{column}_high"]):
        rounded = number(half, decimals)
        detail = f"± {rounded}" if rounded.strip("0.") else f"± < {10**-decimals:g}"
    if cell["n_completed"] < cell["n_runs"]:
        detail += f"\n{cell['n_completed']:.0f} of {cell['n_runs']:.0f}"
    return Cell(number(value, decimals), detail.strip(), value, is_number=True)


def _gain_cell(pair: pd.Series, name: str) -> Cell:
    value, low, high = (pair[f"{name}_{part}"] for part in ("percent", "low", "high"))
    if not known(value):
        return number_cell(None, "")
    if all_the_same(low, high):
        detail = ""
    else:
        detail = percent_range(low, high, 1) if known(low) else "one repeat"
    # A range with signs is long: it takes two lines, so that the table fits a narrow window.
    detail = detail.replace(" to ", " to\n")
    return number_cell(value, f"{signed(value)} %", detail)


def _mfu_cell(of_size: pd.DataFrame, arms: Sequence[str]) -> Cell:
    values = [of_size["mfu"].get(arm) for arm in arms]
    texts = (number(100 * value, 1) if known(value) else NO_VALUE for value in values)
    return Cell(" / ".join(texts), is_number=True)


def _against(pair: pd.Series, of_size: pd.DataFrame, analysis: Analysis) -> Cell:
    if not analysis.device.timings_count:
        return Cell("no verdict")
    if not known(pair["speedup_percent"]):
        done = [arm for arm in of_size.index if of_size.loc[arm, "n_completed"]]
        if len(done) == 1:
            return Cell(f"only {done[0]}", "completed")
        return Cell("no verdict", "no common repeat")
    if pair["n_pairs"] < 2:
        return Cell("no verdict", "one pair of repeats")
    speed = against_range(pair["speedup_percent"], PUBLISHED_SPEEDUP)
    if not known(pair["memory_saving_percent"]):
        return Cell(f"speed {speed}")
    memory = against_range(pair["memory_saving_percent"], PUBLISHED_MEMORY_SAVING)
    return Cell(f"speed {speed}", f"memory {memory}")


def _peak(analysis: Analysis) -> str:
    device = analysis.device
    if device.peak_tflops is not None:
        return (
            "MFU is 6 × parameters × tokens per second over the dense bf16 peak, "
            f"{device.peak_tflops:g} TFLOP/s for the {device.name}."
        )
    if not device.timings_count:
        return f"No MFU is given for a trial {device.trial}."
    return f"No MFU is given: the peak of “{device.name}” is not in this report’s table."
