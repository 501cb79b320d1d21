"""A Flyte control plane on loopback that records what the real clients send and serves it back.

It runs nothing. It speaks the protocol of FlyteAdmin, its data proxy and Union's image service, as
far as `union run --remote` and `pyflyte run --remote` call them, and takes uploads over HTTP. Like
FlyteAdmin it refuses a second definition of a name and version that differs from the first.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import http.server
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import compiler_pb2, identifier_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.service import admin_pb2_grpc, dataproxy_pb2, dataproxy_pb2_grpc
from union.internal.imagebuilder import payload_pb2 as image_pb2
from union.internal.imagebuilder import service_pb2_grpc as image_pb2_grpc

BIN = Path(sys.executable).parent
WORKFLOW = "liger_kernel_finetuning"
STORE_PROTOCOL = "teststore"
UNION_REGISTRY = "registry.example"


class ControlPlane:
    """A running control plane; a context manager.

    Attributes:
        store: the folder behind `teststore://`, the blob store of this cluster.
        tasks, workflows, launch_plans: what was registered last, under its name.
        executions: the requests to run something, in order.
        images: the names that Union's image service was asked for, in order.
        refused: every call that was answered with an error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir(parents=True)
        self.specs: dict[bytes, Any] = {}
        self.tasks: dict[str, task_pb2.TaskSpec] = {}
        self.workflows: dict[str, workflow_pb2.WorkflowSpec] = {}
        self.launch_plans: dict[str, launch_plan_pb2.LaunchPlanSpec] = {}
        self.executions: list[execution_pb2.ExecutionCreateRequest] = []
        self.images: list[str] = []
        self.refused: list[str] = []

    def __enter__(self) -> ControlPlane:
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _uploads_into(self.store))
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        admin_pb2_grpc.add_AdminServiceServicer_to_server(_Admin(self), self._grpc)
        dataproxy_pb2_grpc.add_DataProxyServiceServicer_to_server(_DataProxy(self), self._grpc)
        image_pb2_grpc.add_ImageServiceServicer_to_server(_Images(self), self._grpc)
        self.port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        self.config = self.folder / "config.yaml"
        # Not `localhost`: Union's client takes that for its sandbox and builds every image anew.
        endpoint = f"dns:///127.0.0.1:{self.port}"
        self.config.write_text(f"admin:\n  endpoint: {endpoint}\n  insecure: true\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()

    @property
    def upload_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def snapshot(self) -> ControlPlane:
        """What has been recorded until now; what comes later is not in it."""
        now = copy.copy(self)
        for name in ("tasks", "workflows", "launch_plans", "executions", "images", "refused"):
            setattr(now, name, copy.copy(getattr(self, name)))
        return now

    def archive(self) -> dict[str, bytes]:
        """The files of the one code archive that was uploaded, by their path in it."""
        (path,) = (path for path in self.store.rglob("*.tar.gz"))
        with tarfile.open(path) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]

    def run(
        self,
        client: str,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Type `union run --remote …` or `pyflyte run --remote …` in `folder`, with a new home."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        config = "UNION_CONFIG" if client == "union" else "FLYTECTL_CONFIG"
        return run_child(
            [str(BIN / client), "run", "--remote", *arguments],
            cwd=folder,
            environment={
                "HOME": str(home),
                config: str(self.config),
                # Should an image be looked for with Docker: there is none at that port.
                "DOCKER_HOST": "tcp://127.0.0.1:9",
                "UNION_USAGE_STATS_ENABLED": "0",
                **(environment or {}),
            },
        )


def run_child(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command that sees nothing of this process's environment but what is named here."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={
            "PATH": os.pathsep.join([str(BIN), os.defpath]),
            "LANG": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            # A test writes no compiled modules beside sources that the next test compares.
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


class _Admin(admin_pb2_grpc.AdminServiceServicer):
    """FlyteAdmin: definitions go in once and come back as they were."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def _create(self, request: Any, context: grpc.ServicerContext, kind: dict[str, Any]) -> None:
        key = request.id.SerializeToString(deterministic=True)
        known = self.plane.specs.setdefault(key, request.spec)
        if known is request.spec:
            kind[request.id.name] = request.spec
        elif known == request.spec:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.id.name} exists, identical")
        else:
            self.plane.refused.append(f"{request.id.name}: exists with another structure")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, self.plane.refused[-1])

    def _get(self, request: Any, context: grpc.ServicerContext) -> Any:
        spec = self.plane.specs.get(request.id.SerializeToString(deterministic=True))
        if spec is None:
            self.plane.refused.append(f"{request.id.name}: does not exist")
            context.abort(grpc.StatusCode.NOT_FOUND, self.plane.refused[-1])
        return spec

    def CreateTask(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._create(request, context, self.plane.tasks)
        return task_pb2.TaskCreateResponse()

    def ListTasks(self, request: Any, context: grpc.ServicerContext) -> Any:
        # Union's client looks for the latest version of Union's builder, to see if it has one.
        task_id = identifier_pb2.Identifier(
            resource_type=identifier_pb2.TASK,
            project=request.id.project,
            domain=request.id.domain,
            name=request.id.name,
            version="1",
        )
        return task_pb2.TaskList(tasks=[task_pb2.Task(id=task_id)])

    def GetTask(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.id.name == "build-image":
            return task_pb2.Task(id=request.id)
        template = self._get(request, context).template
        compiled = compiler_pb2.CompiledTask(template=template)
        return task_pb2.Task(id=request.id, closure=task_pb2.TaskClosure(compiled_task=compiled))

    def CreateWorkflow(self, request: Any, context: grpc.ServicerContext) -> Any:
        # Clients send them in any order; FlyteAdmin's compiler sorts them before it compares.
        for node in request.spec.template.nodes:
            node.upstream_node_ids.sort()
        self._create(request, context, self.plane.workflows)
        return workflow_pb2.WorkflowCreateResponse()

    def GetWorkflow(self, request: Any, context: grpc.ServicerContext) -> Any:
        spec = self._get(request, context)
        closure = compiler_pb2.CompiledWorkflowClosure(
            primary=compiler_pb2.CompiledWorkflow(template=spec.template),
            tasks=[
                compiler_pb2.CompiledTask(template=known.template)
                for known in list(self.plane.specs.values())
                if isinstance(known, task_pb2.TaskSpec)
            ],
        )
        return workflow_pb2.Workflow(
            id=request.id, closure=workflow_pb2.WorkflowClosure(compiled_workflow=closure)
        )

    def CreateLaunchPlan(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._create(request, context, self.plane.launch_plans)
        return launch_plan_pb2.LaunchPlanCreateResponse()

    def GetLaunchPlan(self, request: Any, context: grpc.ServicerContext) -> Any:
        return launch_plan_pb2.LaunchPlan(id=request.id, spec=self._get(request, context))

    def CreateExecution(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.plane.executions.append(request)
        return execution_pb2.ExecutionCreateResponse(id=self._execution_id(request))

    def GetExecution(self, request: Any, context: grpc.ServicerContext) -> Any:
        return execution_pb2.Execution(
            id=request.id,
            spec=self.plane.executions[-1].spec,
            closure=execution_pb2.ExecutionClosure(
                phase=core_execution_pb2.WorkflowExecution.Phase.SUCCEEDED
            ),
        )

    def _execution_id(self, request: Any) -> Any:
        return identifier_pb2.WorkflowExecutionIdentifier(
            project=request.project, domain=request.domain, name=f"e{len(self.plane.executions)}"
        )


class _DataProxy(dataproxy_pb2_grpc.DataProxyServiceServicer):
    """The data proxy: where to put a file, and under which address it is found in the store."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def CreateUploadLocation(self, request: Any, context: grpc.ServicerContext) -> Any:
        folder = request.filename_root or request.content_md5.hex()
        path = f"{request.project}/{request.domain}/{folder}/{request.filename}"
        return dataproxy_pb2.CreateUploadLocationResponse(
            signed_url=f"{self.plane.upload_url}/uploads/{path}",
            native_url=f"{STORE_PROTOCOL}://uploads/{path}",
        )


class _Images(image_pb2_grpc.ImageServiceServicer):
    """Union's image service: every image that is asked for has been built already."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def GetImage(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.plane.images.append(request.id.name)
        response = image_pb2.GetImageResponse()
        response.image.id.name = request.id.name
        response.image.fqin = f"{UNION_REGISTRY}/{request.id.name}"
        return response


def _uploads_into(store: Path) -> type[http.server.BaseHTTPRequestHandler]:
    class Uploads(http.server.BaseHTTPRequestHandler):
        """The bucket behind the signed addresses."""

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            digest = base64.b64encode(hashlib.md5(content).digest()).decode()
            if self.headers["Content-MD5"] != digest:
                self.send_error(400, "Content-MD5 does not fit the content")
                return
            path = store / self.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Uploads
