"""`wandb_init`, the blog's decorator, for a task that runs one condition of a grid."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from flytekit import current_context
from flytekit.types.directory import FlyteDirectory
from flytekitplugins.wandb import wandb_init

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.flyte import failures, tracking
from liger_benchmark.flyte.cache_versions import TRAINING_VERSION
from liger_benchmark.flyte.conditions import is_kept
from liger_benchmark.flyte.credentials import WANDB_SECRET, read_secret
from liger_benchmark.flyte.execution import is_local, storage
from liger_benchmark.flyte.local_run import current_grid_run
from liger_benchmark.flyte.pod_limits import check_pod_limits
from liger_benchmark.flyte.side_by_side import SideBySide


class track_with_wandb(wandb_init):
    """`wandb_init` for a condition that asks for W&B and has to be trained: a named run each.

    flytekit's own `execute` logs in, which writes the key to the home folder, and opens a run
    before it is known whether one is needed.
    """

    def execute(
        self,
        training_args: TrainingArguments,
        dataset_cache_dir: FlyteDirectory,
        model_cache_dir: FlyteDirectory,
    ) -> Any:
        """Run the task's function, inside a W&B run if the condition asks for one.

        Raises:
            TrackingRefused: if there is no API key, or W&B refuses it.
            MissingSecret: if a pod does not have the key.
            PodCutDown: if a pod has less than its task states.
        """
        with failures.kept(training_args, model_cache_dir):
            if not is_local():
                check_pod_limits(training_args.n_gpus)
            return self._execute(training_args, dataset_cache_dir, model_cache_dir)

    def get_extra_config(self) -> dict[str, Any]:
        """What the console makes its link to W&B of; without an entity there is no such page."""
        return dict(super().get_extra_config()) if self.entity else {}

    def _execute(
        self,
        training_args: TrainingArguments,
        dataset_cache_dir: FlyteDirectory,
        model_cache_dir: FlyteDirectory,
    ) -> Any:
        grid = current_grid_run()
        train = partial(
            self._train, dataset_cache_dir=dataset_cache_dir, model_cache_dir=model_cache_dir
        )
        if training_args.parallel_conditions == 1 or len(grid.grid) < 2:
            return train(training_args)
        if grid.side_by_side is None:
            grid.side_by_side = SideBySide(grid.grid, train)
        return grid.side_by_side.result(training_args)

    def _train(
        self,
        training_args: TrainingArguments,
        dataset_cache_dir: FlyteDirectory,
        model_cache_dir: FlyteDirectory,
    ) -> Any:
        train = partial(self.task_function, training_args, dataset_cache_dir, model_cache_dir)
        kept = partial(is_kept, training_args, dataset_cache_dir, model_cache_dir)
        grid = current_grid_run()
        if training_args.report_to != "wandb" or grid.stopped or kept():
            return train()
        with tracking.wandb_run(
            training_args,
            project=self.project,
            entity=self.entity,
            folder=storage(),
            unreachable=grid.wandb_unreachable,
            **wandb_options(training_args),
        ) as tracked:
            grid.wandb_unreachable = tracked.unreachable
            return train()


def wandb_options(training_args: TrainingArguments) -> dict[str, Any]:
    """What a W&B run takes from Flyte: the experiment it belongs to and, on a cluster, the key."""
    if is_local():
        grid = current_grid_run().grid
        return {"group": tracking.experiment_name(training_args, grid, TRAINING_VERSION)}
    execution = current_context().execution_id.name
    pod, url = os.environ.get("HOSTNAME", ""), os.environ.get("FLYTE_EXECUTION_URL")
    return {
        "group": execution,
        "api_key": read_secret(WANDB_SECRET),
        # Flyte's console finds a task's W&B run by the name of its pod.
        "run_id": pod if pod.startswith(execution) else None,
        "notes": f"[Execution URL]({url})" if url else None,
    }
