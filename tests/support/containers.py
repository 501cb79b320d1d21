"""Runs recorded tasks as Flyte's pods would: each one's own command, in a process of its own.

A pod gets the environment of its task spec, inputs from the blob store, and an empty folder for its
code, its home and its temporary files. All of that is gone when it ends: what it did not upload is
lost. The graph is walked as FlytePropeller does, with its cache; nothing of it is in the product.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from flyteidl.core import dynamic_job_pb2, errors_pb2, literals_pb2, tasks_pb2, workflow_pb2

from support.control_plane import STORE_PROTOCOL, ControlPlane, run_child
from support.literals import CacheKey, Literals, cache_key, resolve, sources

PODS_AT_ONCE = 2
INDEX_VARIABLE = "FLYTE_K8S_ARRAY_INDEX"

Templates: TypeAlias = Mapping[str, tasks_pb2.TaskTemplate]

# What the blob store prints into a container's log for every file that is fetched from it.
FETCHED = "fetched from the store:"

# A blob store as remote as S3: its addresses are no paths, files have to be fetched and put.
SITE = f"""
import fsspec
from fsspec.implementations.local import LocalFileSystem

class Store(LocalFileSystem):
    protocol = "{STORE_PROTOCOL}"

    def get_file(self, path, *arguments, **options):
        print("{FETCHED}", path, flush=True)
        return super().get_file(path, *arguments, **options)

    def __init__(self, **options):
        super().__init__(auto_mkdir=True)

    @classmethod
    def _strip_protocol(cls, path):
        if path.startswith("{STORE_PROTOCOL}://"):
            path = ROOT + "/" + path.removeprefix("{STORE_PROTOCOL}://")
        return super()._strip_protocol(path)

fsspec.register_implementation("{STORE_PROTOCOL}", Store)

# A container has its own control groups, whatever those of the machine that plays the cluster.
import pathlib
read_text = pathlib.Path.read_text

def read_in_container(path, *arguments, **options):
    name = str(path)
    if name.startswith("/sys/fs/cgroup/"):
        path = pathlib.Path(CGROUPS + name.removeprefix("/sys/fs/cgroup"))
    return read_text(path, *arguments, **options)

pathlib.Path.read_text = read_in_container
"""


class PodFailed(RuntimeError):
    """A container left an `error.pb`, or no outputs. The message is what it said."""


@dataclass
class Pod:
    """What is kept of a container that ran, or of a task whose result the cache had."""

    task: str
    index: int | None
    output_prefix: str
    cached: bool = False
    error: str | None = None
    log: str = ""

    @property
    def fetched(self) -> list[str]:
        """The files that it fetched from the blob store, in order."""
        lines = self.log.splitlines()
        return [line.partition(FETCHED)[2].strip() for line in lines if FETCHED in line]


@dataclass
class Cluster:
    """Runs the executions that a control plane recorded.

    Attributes:
        cache: what finished cacheable tasks returned, by Flyte's key for them. It may be handed
            from one cluster to the next.
        broken: elements of the map whose machine is broken, each with a folder of modules that
            hide the installed ones there.
        cgroups: what containers find in /sys/fs/cgroup, where they read their limits; nothing, as
            long as no file is put there.
        never_started: elements of the map whose pods stay pending until Flyte gives them up.
        execution: the name of the execution that containers are told.
        attempt: which try of its pod a container is told to be, from 0.
        pods: what ran, in the order in which it ended.
        array_nodes: the map nodes that dynamic tasks asked for.
        templates: every task template that was met, those of dynamic tasks included.
    """

    plane: ControlPlane
    folder: Path
    cache: dict[CacheKey, Literals] = field(default_factory=dict)
    broken: Mapping[int, Path] = field(default_factory=dict)
    never_started: Collection[int] = ()
    execution: str = "e1"
    attempt: int = 0
    pods: list[Pod] = field(default_factory=list)
    array_nodes: list[workflow_pb2.ArrayNode] = field(default_factory=list)
    templates: dict[str, tasks_pb2.TaskTemplate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site = self.folder / "site"
        self.site.mkdir(parents=True)
        self.cgroups = self.folder / "cgroups"
        self.cgroups.mkdir()
        constants = f"ROOT = {str(self.plane.store)!r}\nCGROUPS = {str(self.cgroups)!r}\n"
        text = constants + SITE
        (self.site / "sitecustomize.py").write_text(text, encoding="utf-8")

    def run(self, request: Any) -> Literals:
        """Run a recorded request for an execution, to its outputs.

        Raises:
            PodFailed: if a task fails that the workflow cannot do without.
        """
        spec = request.spec.launch_plan
        workflow = self.plane.workflows[spec.name].template
        tasks = {task.template.id.name: task.template for task in self.plane.tasks.values()}
        parameters = self.plane.launch_plans[spec.name].default_inputs.parameters
        inputs = {name: p.default for name, p in parameters.items() if p.HasField("default")}
        inputs |= dict(request.inputs.literals)
        return self._run_graph(workflow.nodes, workflow.outputs, inputs, tasks)

    def ran(self, task: str) -> list[Pod]:
        """The pods of a task that really ran, by the function's name."""
        return [pod for pod in self.pods if pod.task.endswith(task) and not pod.cached]

    def stored(self, uri: str) -> Path:
        """Where the blob store keeps what has this address."""
        return self.plane.store / uri.removeprefix(f"{STORE_PROTOCOL}://")

    def _run_graph(
        self,
        nodes: Sequence[workflow_pb2.Node],
        outputs: Iterable[literals_pb2.Binding],
        inputs: Literals,
        tasks: Templates,
    ) -> Literals:
        self.templates |= tasks
        done: dict[str, Literals] = {"": inputs}

        def run(node: workflow_pb2.Node) -> Literals:
            node_inputs = {b.var: resolve(b.binding, done) for b in node.inputs}
            if node.HasField("array_node"):
                return self._map(node.array_node, node_inputs, tasks)
            return self._run_task(tasks[node.task_node.reference_id.name], node_inputs)

        waiting = [node for node in nodes if node.id not in ("start-node", "end-node")]
        while waiting:
            ready = [node for node in waiting if sources(node.inputs) <= done.keys()]
            waiting = [node for node in waiting if node not in ready]
            with ThreadPoolExecutor(PODS_AT_ONCE) as pool:
                done |= zip([node.id for node in ready], pool.map(run, ready), strict=True)
        return {binding.var: resolve(binding.binding, done) for binding in outputs}

    def _map(self, node: workflow_pb2.ArrayNode, inputs: Literals, tasks: Templates) -> Literals:
        """Every element of the mapped input by itself; None where one failed and may fail."""
        self.array_nodes.append(node)
        template = tasks[node.node.task_node.reference_id.name]
        n = max(len(literal.collection.literals) for literal in inputs.values())

        def element(index: int) -> Literals | PodFailed:
            try:
                return self._run_task(template, inputs, index)
            except PodFailed as error:
                return error

        with ThreadPoolExecutor(min(PODS_AT_ONCE, node.parallelism or n)) as pool:
            results = list(pool.map(element, range(n)))
        errors = [result for result in results if isinstance(result, PodFailed)]
        if n - len(errors) < min_successes(node.min_success_ratio, n):
            raise errors[0]
        nothing = literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))
        (name,) = template.interface.outputs.variables
        collected = [nothing if isinstance(r, PodFailed) else r[name] for r in results]
        collection = literals_pb2.LiteralCollection(literals=collected)
        return {name: literals_pb2.Literal(collection=collection)}

    def _run_task(
        self, template: tasks_pb2.TaskTemplate, inputs: Literals, index: int | None = None
    ) -> Literals:
        key = cache_key(template, inputs, index)
        if template.metadata.discoverable and key in self.cache:
            self.pods.append(Pod(template.id.name, index, "", cached=True))
            return self.cache[key]
        if index in self.never_started:
            pod = Pod(template.id.name, index, f"{STORE_PROTOCOL}://metadata/never-started")
        else:
            pod = self._run_container(template, inputs, index)
        self.pods.append(pod)
        outputs = self._outputs(pod)
        if template.metadata.discoverable:
            self.cache[key] = outputs
        return outputs

    def _outputs(self, pod: Pod) -> Literals:
        folder = self.stored(pod.output_prefix)
        if (folder / "error.pb").exists():
            document = errors_pb2.ErrorDocument.FromString((folder / "error.pb").read_bytes())
            pod.error = document.error.message
            raise PodFailed(f"{pod.task}: {pod.error}")
        if (folder / "futures.pb").exists():
            content = (folder / "futures.pb").read_bytes()
            job = dynamic_job_pb2.DynamicJobSpec.FromString(content)
            return self._run_graph(
                job.nodes, job.outputs, {}, {task.id.name: task for task in job.tasks}
            )
        if not (folder / "outputs.pb").exists():
            pod.error = f"no outputs; its log:\n{pod.log}"
            raise PodFailed(f"{pod.task}: {pod.error}")
        content = (folder / "outputs.pb").read_bytes()
        return dict(literals_pb2.LiteralMap.FromString(content).literals)

    def _run_container(
        self, template: tasks_pb2.TaskTemplate, inputs: Literals, index: int | None
    ) -> Pod:
        name = f"{template.id.name.split('.')[-1]}-{uuid.uuid4().hex[:8]}"
        metadata = f"{STORE_PROTOCOL}://metadata/{name}"
        inputs_file = self.stored(metadata) / "inputs.pb"
        inputs_file.parent.mkdir(parents=True)
        inputs_file.write_bytes(literals_pb2.LiteralMap(literals=inputs).SerializeToString())
        values = {
            "{{.input}}": f"{metadata}/inputs.pb",
            "{{.outputPrefix}}": f"{metadata}/out",
            "{{.rawOutputDataPrefix}}": f"{STORE_PROTOCOL}://raw/{name}",
            "{{.checkpointOutputPrefix}}": f"{STORE_PROTOCOL}://raw/{name}/_checkpoints",
            "{{.prevCheckpointPrefix}}": '""',
        }
        container = template.container
        command = [values.get(word, word) for word in [*container.command, *container.args]]
        # Directly under the temporary folder: a socket's address in it may have 107 characters.
        disk = Path(tempfile.mkdtemp(prefix="pod-"))
        for part in ("root", "home", "tmp"):
            (disk / part).mkdir()
        module_path = [folder for i, folder in self.broken.items() if i == index] + [self.site]
        array = {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": INDEX_VARIABLE, INDEX_VARIABLE: str(index)}
        child = self._execute(
            command,
            disk,
            {
                "HOME": str(disk / "home"),
                "TMPDIR": str(disk / "tmp"),
                "PYTHONPATH": os.pathsep.join(map(str, module_path)),
                "CUDA_VISIBLE_DEVICES": "",
                "FLYTE_INTERNAL_EXECUTION_ID": self.execution,
                "FLYTE_INTERNAL_EXECUTION_PROJECT": template.id.project,
                "FLYTE_INTERNAL_EXECUTION_DOMAIN": template.id.domain,
                "FLYTE_INTERNAL_TASK_NAME": template.id.name,
                "FLYTE_INTERNAL_TASK_VERSION": template.id.version,
                "FLYTE_ATTEMPT_NUMBER": str(self.attempt),
                **{variable.key: variable.value for variable in container.env},
                **(array if index is not None else {}),
            },
        )
        shutil.rmtree(disk)
        return Pod(template.id.name, index, values["{{.outputPrefix}}"], log=child.stdout)

    def _execute(
        self, command: Sequence[str], disk: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a container's command on its own disk."""
        return run_child(command, cwd=disk / "root", environment=environment)


def min_successes(ratio: float, n: int) -> int:
    """How many of n elements have to succeed.

    As FlytePropeller v1.16.8 computes it in 64 bits from the ratio, which has 32:
    flytepropeller/pkg/controller/nodes/array/handler.go, "calculate minimum number of successes".

    Args:
        ratio: as it comes from the protobuf message, where it is a 32-bit number.
    """
    return math.ceil(ratio * n)
