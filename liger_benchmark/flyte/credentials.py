"""The secrets that tasks ask for, and how a pod reads them."""

from __future__ import annotations

import contextlib
import os

from flytekit import Secret, current_context
from flytekit.configuration.plugin import get_plugin

from image_spec import SECRET_GROUP
from liger_benchmark.flyte.execution import is_local
from liger_benchmark.flyte.settings import HF_SECRET_KEY, SECRETS, WANDB_SECRET_KEY

# Without `union` installed, flytekit takes no secret that has no group.
GROUP = SECRET_GROUP or ("liger-benchmark" if get_plugin().secret_requires_group() else None)
WANDB_SECRET = Secret(key=WANDB_SECRET_KEY, group=GROUP)
HF_SECRET = Secret(key=HF_SECRET_KEY, group=GROUP)


class MissingSecret(RuntimeError):
    """A secret that a task needs is not in its pod. The message is one line with the cure.

    Args:
        key: the secret's name.
        group: in plain Flyte, the Kubernetes secret that holds it; None on Union.
        namespace: the pod's Kubernetes namespace.
    """

    def __init__(self, key: str, group: str | None, namespace: str) -> None:
        create = (
            f"union create secret {key}"
            if group is None
            else f"kubectl create secret generic {group} --from-literal={key}=VALUE "
            f"--namespace {namespace}"
        )
        super().__init__(
            f"secret {key}: is not in this pod; create it with `{create}` and name it in "
            "LIGER_BENCHMARK_SECRETS when you register the workflow"
        )


def requested(secret: Secret) -> list[Secret]:
    """`secret` as a task's `secret_requests`, if it was asked for at registration."""
    return [secret] if secret.key in SECRETS else []


def read_secret(secret: Secret) -> str:
    """A secret's value in a pod.

    Raises:
        MissingSecret: if the pod does not have it.
    """
    context = current_context()
    with contextlib.suppress(ValueError):
        if value := context.secrets.get(group=secret.group, key=secret.key):
            return value
    execution = context.execution_id
    raise MissingSecret(secret.key, secret.group, f"{execution.project}-{execution.domain}")


def with_hub_token() -> None:
    """Give the Hub's client its token in a pod, if one was asked for at registration."""
    if HF_SECRET.key in SECRETS and not is_local():
        os.environ["HF_TOKEN"] = read_secret(HF_SECRET)
