"""A gRPC server on the C core: the upstream of the gRPC interop tests.

Messages are raw bytes (no protobuf). Prints its port on the first line and serves until killed.
"""

import base64
import json
import sys
import threading
from concurrent import futures

import grpc

hanging = threading.Semaphore(0)
cancelled = threading.Semaphore(0)


def echo_metadata(context):
    """Sends what the client asked for as initial and as trailing metadata."""
    sent = dict(context.invocation_metadata())
    if "x-ask-initial" in sent:
        context.send_initial_metadata((("x-initial", sent["x-ask-initial"]),))
    if "x-ask-trailing" in sent:
        context.set_trailing_metadata(
            (
                ("x-trailing", sent["x-ask-trailing"]),
                ("x-trailing", "twice"),
                ("x-raw-bin", b"\x00\xff\x01"),
            )
        )


def unary(request, context):
    echo_metadata(context)
    return request


def client_stream(requests, context):
    echo_metadata(context)
    return b"|".join(requests)


def server_stream(request, context):
    echo_metadata(context)
    for number in range(int(request)):
        yield b"message %d" % number


def bidi(requests, context):
    echo_metadata(context)
    for request in requests:
        yield b"echo " + request


def status(request, context):
    """Aborts with `CODE:details`."""
    echo_metadata(context)
    code, _, details = request.decode().partition(":")
    context.abort(getattr(grpc.StatusCode, code), details)


def late_status(request, context):
    """Two messages, then an abort: the status can only be in the trailers."""
    yield b"one"
    yield b"two"
    context.set_trailing_metadata((("x-why", "late"),))
    context.abort(grpc.StatusCode.DATA_LOSS, request.decode())


def metadata(request, context):
    """What arrived, as JSON; binary values in base64."""
    pairs = [
        (key, base64.b64encode(value).decode() if isinstance(value, bytes) else value)
        for key, value in context.invocation_metadata()
    ]
    return json.dumps(pairs).encode()


def remaining(request, context):
    """The seconds left of the deadline as this server sees it, or `none`."""
    left = context.time_remaining()
    return b"none" if left is None or left > 1e6 else b"%f" % left


def hang(request, context):
    """One message, then nothing until the call is cancelled."""
    yield b"hanging"
    hang_unary(request, context)


def hang_unary(request, context):
    """Nothing until the call is cancelled."""
    over = threading.Event()
    context.add_callback(over.set)
    hanging.release()
    over.wait(60)
    cancelled.release()
    return b""


def wait_hanging(request, context):
    """Answers when a call that hangs has arrived: `yes`, or `no` after ten seconds."""
    return b"yes" if hanging.acquire(timeout=10) else b"no"


def wait_cancelled(request, context):
    """Answers when a hanging call has been cancelled: `yes`, or `no` after ten seconds."""
    return b"yes" if cancelled.acquire(timeout=10) else b"no"


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
    "Status": grpc.unary_unary_rpc_method_handler(status),
    "LateStatus": grpc.unary_stream_rpc_method_handler(late_status),
    "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
    "HangUnary": grpc.unary_unary_rpc_method_handler(hang_unary),
    "WaitHanging": grpc.unary_unary_rpc_method_handler(wait_hanging),
    "WaitCancelled": grpc.unary_unary_rpc_method_handler(wait_cancelled),
}


def main():
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=64),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("demo.Echo", METHODS),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # The parent holds our input open; its end, however it came, is ours.
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
