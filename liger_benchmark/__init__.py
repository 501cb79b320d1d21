"""Measure what Liger Kernel does for the fine-tuning of a language model.

From the command to the page, and nothing imports what stands above it:

    __main__.py       the command line: liger-benchmark quick, report, compare, profile
    flyte2/           what only a run on Flyte 2 needs: its task environments
    flyte/            what only a run on Flyte needs: command line, W&B, secrets
    quick.py          an inputs file from a few flags, and its run
    profiling.py      where the steps of one condition spend the GPU's time
    kernel_kinds.py   a profile's time by kind of kernel
    report/           the page, the Decks and the terminal's summary, made from an analysis
    analysis/         from runs to tables, intervals, claims, headline and caveats
    experiment/       the inputs file, its grid of conditions, and what is checked before it starts
    store.py          finished runs on this machine, found again by what could have changed them
    training/         what decides what a run measures
    sources/          models and datasets: the Hub, a folder, or builtin:NAME
    run.py            one finished run on disk
    arguments.py      the settings of one training run
    conflicts.py      settings that exclude each other
    choices.py        the values that settings may have
    catalog.py        what builtin:NAME may stand for
    columns.py        the names of a history's columns that others read
    code_version.py   the hash of the code that a run's cache key holds
    files.py          files and folders that are written whole or not at all
    folders.py        where results lie on this machine, and the caches of libraries
    wording.py        how numbers and lists are written
    validation.py     fields that check their values
"""
