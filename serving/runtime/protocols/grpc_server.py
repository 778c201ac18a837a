"""Open Inference Protocol V2 over gRPC, on the worker's own event loop, and gRPC's health protocol for probes.

ModelInfer is one message each way on the wire. It is handled as a stream of one, because only then does the handler say when
a message is read and see when the answer is gone: so requests stay within the worker's budget of bytes, and slow clients within its time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
from google.protobuf.message import DecodeError

from serving.runtime import users
from serving.runtime.engine.inference import Call
from serving.runtime.errors import RequestError, body_of, status_of
from serving.runtime.http.request import new_id, parse_trace, plain_id
from serving.runtime.protocols import v2
from serving.runtime.protocols.protos import open_inference_pb2 as pb
from serving.runtime.protocols.tensors import DATATYPES, DTYPES, datatype_of, from_binary, reshape, to_binary
from sluice import __version__
from sluice.core.errors import SluiceError

if TYPE_CHECKING:
    from serving.runtime.engine.queue import Tensors
    from serving.runtime.models.model import Model
    from serving.runtime.process.service import Service

log = logging.getLogger("sluice.serving")

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
#: The field of InferTensorContents that holds a datatype, and what it must be cast to.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
#: grpc.health.v1.HealthCheckResponse: SERVING and NOT_SERVING.
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
#: Seconds a call waits for others' messages to be read before it is refused.
_TURN = 1.0


class GrpcServer:
    """The gRPC face of a service. `start`, then `stop`."""

    def __init__(self, service: Service):
        self._service = service
        limit = service.settings.max_body
        # A message may be as large as the limit until it is there, so only so many are read at a time.
        self._turns = asyncio.Semaphore(max(1, service.budget.limit // limit))
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=service.settings.max_connections,
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", service.settings.queue),
                ("grpc.max_metadata_size", 32 << 10),
            ],
        )
        unary = grpc.unary_unary_rpc_method_handler
        methods = {
            "ServerLive": (self._live, pb.ServerLiveRequest),
            "ServerReady": (self._ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
        }
        handlers = {
            name: unary(handler, request_deserializer=kind.FromString, response_serializer=_serialised)
            for name, (handler, kind) in methods.items()
        }
        handlers["ModelInfer"] = grpc.stream_stream_rpc_method_handler(self._infer)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),
                grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": unary(self._health)}),
            )
        )

    async def start(self) -> None:
        """Raises `RuntimeError` when the port cannot be bound."""
        settings = self._service.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """No new calls; those in flight get `seconds`."""
        await self._server.stop(seconds)

    async def _health(self, request: bytes, context: Any) -> bytes:
        return _SERVING if self._service.ready else _NOT_SERVING

    async def _live(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._service.ready)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        try:
            self._service.served(request.name, request.version or None)
        except RequestError as e:
            await _abort(context, e)
        return pb.ModelReadyResponse(ready=self._service.ready)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return pb.ServerMetadataResponse(name="sluice", version=__version__, extensions=["binary_tensor_data"])

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        try:
            found = self._service.served(request.name, request.version or None).metadata
        except RequestError as e:
            await _abort(context, e)
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=found["name"],
            versions=found["versions"],
            platform=found["platform"],
            inputs=[tensor(**t) for t in found["inputs"]],
            outputs=[tensor(**t) for t in found["outputs"]],
        )

    async def _infer(self, _: Any, context: Any) -> None:
        """One ModelInfer: read its message, answer it, and count both until they are gone."""
        budget = self._service.budget
        raw = await self._read(context)
        held = len(raw)
        budget.held += held
        try:
            if budget.held > budget.limit:
                await _abort(context, RequestError("too many bytes of requests are held", status=429, retry_after=1))
            try:
                request = pb.ModelInferRequest.FromString(raw)
            except DecodeError as e:
                await _abort(context, RequestError(f"is no ModelInferRequest: {e}", field="message"))
            del raw
            data = (await self._answer(request, context)).SerializeToString()
            del request
            held += len(data)
            budget.held += len(data)
            await self._write(context, data)
        finally:
            budget.held -= held

    async def _write(self, context: Any, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._service.settings.write_timeout):
                await context.write(data)
        except TimeoutError:
            await _abort(context, RequestError("took too long to be read", field="answer", status=504))

    async def _read(self, context: Any) -> bytes:
        """The call's message. Ends the call where it is not there in time, or too many others are being read."""
        try:
            async with asyncio.timeout(_TURN):
                await self._turns.acquire()
        except TimeoutError:
            await _abort(context, RequestError("too many bytes of requests are held", status=429, retry_after=1))
        try:
            async with asyncio.timeout(self._service.settings.body_timeout):
                raw: bytes = await context.read()
        except TimeoutError:
            await _abort(context, RequestError("took too long", field="message", status=504))
        finally:
            self._turns.release()
        if raw is grpc.aio.EOF:
            await _abort(context, RequestError("is missing", field="message"))
        return raw

    async def _answer(self, request: Any, context: Any) -> Any:
        arrived = time.perf_counter()
        service, settings = self._service, self._service.settings
        try:
            served = service.served(request.model_name, request.model_version or None)
        except RequestError as e:
            await _abort(context, e)
        answered: asyncio.Future[BaseException | None] = service.loop.create_future()
        model = served.model

        def done(error: BaseException | None) -> int:
            if answered.cancelled():
                return 499
            answered.set_result(error)
            return 200 if error is None else status_of(error)

        metadata = dict(context.invocation_metadata() or ())
        given = metadata.get("x-request-id", "")
        request_id = given if isinstance(given, str) and plain_id(given) else new_id()
        trace = parse_trace(str(metadata.get("traceparent", "")).encode())
        left = context.time_remaining()
        deadline = left if left is not None else settings.deadline
        call = Call(
            service,
            served,
            done,
            arrived,
            deadline,
            lambda: request_id,
            trace[0] if trace else None,
            "no-" in str(metadata.get("cache-control", "")),
            users.known(str(metadata.get(settings.user_header, "")).encode(), str(metadata.get("cookie", "")).encode()),
        )
        wanted = None
        try:
            tensors = tensors_of(request)
            wanted = _wanted(model, request)
            units, order, raw = v2.ask_of_tensors(model, tensors, settings.max_batch, settings.max_rows, encoded=False)
            call.ask(units, order, raw)
        except Exception as e:
            if not isinstance(e, SluiceError):
                log.exception("a request to model %s failed", model.name)
            call.fail(e)
        try:
            error = await answered
        except asyncio.CancelledError:
            call.cancel()
            raise
        receipt = b"" if error is not None else call.receipt()
        told = [("x-sluice-version", model.digest), ("x-request-id", request_id), ("x-sluice-receipt", receipt.decode())]
        context.set_trailing_metadata(tuple((k, v) for k, v in told if v))
        if error is not None:
            await _abort(context, error, model.digest, request_id)
        return answer(model, request.id, v2.select(model, call.outputs, call.best, wanted), raw=bool(request.raw_input_contents))


def _serialised(message: Any) -> bytes:
    found: bytes = message.SerializeToString()
    return found


async def _abort(context: Any, error: BaseException, digest: str = "", request_id: str = "") -> None:
    """End the call with an error's code and reason. Raises what gRPC ends calls with."""
    body = body_of(error)
    text = body["error"] + (f" (got {body['value']})" if "value" in body else "") + (f"; {body['fix']}" if "fix" in body else "")
    trailing = [(k, v) for k, v in (("x-sluice-version", digest), ("x-request-id", request_id)) if v]
    if isinstance(error, RequestError) and error.retry_after is not None:
        trailing.append(("retry-after", str(math.ceil(error.retry_after))))
    await context.abort(
        _CODES.get(status_of(error), grpc.StatusCode.INTERNAL), text.encode("ascii", "backslashreplace").decode(), tuple(trailing)
    )


def tensors_of(request: Any) -> Tensors:
    """A ModelInferRequest's inputs as arrays.

    Raises:
        RequestError: neither raw nor typed contents, or contents that do not fit datatype and shape.
    """
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise RequestError(f"has {len(raws)} entries, inputs has {len(request.inputs)}", field="raw_input_contents")
    out: Tensors = {}
    for i, entry in enumerate(request.inputs):
        name, datatype, shape = entry.name, entry.datatype, tuple(entry.shape)
        field = f"inputs.{name}"
        if datatype not in DATATYPES:
            raise RequestError(f"must be one of {', '.join(DATATYPES)}", field=f"inputs[{i}].datatype", value=datatype)
        if any(n < 0 for n in shape) or len(shape) > 16:
            raise RequestError("must hold sizes of at least 0", field=f"{field}.shape", value=list(shape))
        if name in out:
            raise RequestError("stands twice", field=f"inputs[{i}].name", value=name)
        if raws:
            out[name] = from_binary(raws[i], datatype, shape, field)
            continue
        where = _CONTENTS.get(datatype)
        if where is None:
            raise RequestError(f"of {datatype} must be in raw_input_contents", field=field)
        found = getattr(entry.contents, where)
        if datatype == "BYTES":
            array = np.empty(len(found), dtype=object)
            array[:] = list(found)
        else:
            array = _fitted(np.array(found, dtype=_WIDE.get(datatype)), datatype, field)
        out[name] = reshape(array, shape, f"{field}.contents")
    return out


#: What numbers of typed contents are read as: protobuf has whole numbers of 32 and 64 bits only.
_WIDE = {name: np.dtype(np.int64) if dtype.kind in "ui" and name != "UINT64" else dtype for name, dtype in DTYPES.items()}


def _fitted(array: np.ndarray, datatype: str, field: str) -> np.ndarray:
    target = DTYPES[datatype]
    if target.kind in "ui" and array.size and target.itemsize < 8:
        info = np.iinfo(target)
        if int(array.min()) < info.min or int(array.max()) > info.max:
            raise RequestError(f"does not fit {datatype}", field=f"{field}.contents", fix=f"numbers in {info.min}..{info.max}")
    return array.astype(target, copy=False)


def _wanted(model: Model, request: Any) -> list[str] | None:
    names = [o.name for o in request.outputs]
    for i, name in enumerate(names):
        if name not in v2.output_names(model):
            raise RequestError(
                "is not an output of this model",
                field=f"outputs[{i}].name",
                value=name,
                fix=f"outputs: {', '.join(v2.output_names(model))}",
            )
    return names or None


def answer(model: Model, request_id: str, outputs: Tensors, *, raw: bool) -> Any:
    """A ModelInferResponse; elements raw, or in typed contents as far as a datatype has them."""
    response = pb.ModelInferResponse(model_name=model.name, model_version=model.version, id=request_id)
    raw = raw or any(a.dtype == np.float16 for a in outputs.values())
    for name, array in outputs.items():
        datatype = datatype_of(array)
        entry = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            response.raw_output_contents.append(to_binary(array))
        elif datatype == "BYTES":
            entry.contents.bytes_contents.extend(v.encode() if isinstance(v, str) else v for v in array.ravel().tolist())
        else:
            getattr(entry.contents, _CONTENTS[datatype]).extend(array.ravel().tolist())
    return response
