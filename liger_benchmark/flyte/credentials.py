"""A secret that a task needs and its pod lacks: an error that says which command creates it."""

from __future__ import annotations


class MissingSecret(RuntimeError):
    """The message is one line.

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
