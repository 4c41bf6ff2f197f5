"""A gRPC client on the C core: the downstream of the gRPC interop tests.

    grpc_client.py TARGET SCENARIO [ARGUMENT]

Each scenario is a function below; it exits 0 when all its assertions hold.
"""

import base64
import json
import sys
import threading
import time

import grpc

SERVICE = "/demo.Echo/"
PATIENCE = 30  # seconds: an upper bound for calls that are to succeed


class Client:
    def __init__(self, target):
        self.channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
            ],
        )

    def unary(self, method, request=b"", **options):
        options.setdefault("timeout", PATIENCE)
        return self.channel.unary_unary(SERVICE + method)(request, **options)

    def unary_call(self, method, request=b"", **options):
        """The response and the call, for its metadata."""
        options.setdefault("timeout", PATIENCE)
        return self.channel.unary_unary(SERVICE + method).with_call(request, **options)

    def client_stream_call(self, method, requests, **options):
        options.setdefault("timeout", PATIENCE)
        return self.channel.stream_unary(SERVICE + method).with_call(requests, **options)

    def server_stream(self, method, request=b"", **options):
        options.setdefault("timeout", PATIENCE)
        return self.channel.unary_stream(SERVICE + method)(request, **options)

    def bidi(self, method, requests, **options):
        options.setdefault("timeout", PATIENCE)
        return self.channel.stream_stream(SERVICE + method)(requests, **options)


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def fails(call, code):
    """Runs the call, which must fail with this code, and gives the error."""
    try:
        result = call()
    except grpc.RpcError as error:
        equal(error.code(), code, f"status ({error.details()})")
        return error
    raise AssertionError(f"wanted {code}, got the answer {result!r}")


def unary(client):
    equal(client.unary("Unary", b"hello"), b"hello")
    equal(client.unary("Unary", b""), b"", "empty message")


def client_stream(client):
    messages = [b"message %d" % number for number in range(100)]
    answer, call = client.client_stream_call("ClientStream", iter(messages))
    equal(answer, b"|".join(messages))
    equal(call.code(), grpc.StatusCode.OK)
    answer, _ = client.client_stream_call("ClientStream", iter([]))
    equal(answer, b"", "no message at all")


def server_stream(client):
    call = client.server_stream("ServerStream", b"100")
    equal(list(call), [b"message %d" % number for number in range(100)])
    equal(call.code(), grpc.StatusCode.OK)
    equal(list(client.server_stream("ServerStream", b"0")), [], "no message at all")


def bidi(client):
    """Ping-pong: each message is sent only after the answer to the one before has come, so a
    proxy that waits for the end of either side never gets through."""
    turn = threading.Semaphore(1)

    def requests():
        for number in range(50):
            turn.acquire()
            yield b"%d" % number

    answers = []
    call = client.bidi("Bidi", requests())
    for answer in call:
        answers.append(answer)
        turn.release()
    equal(answers, [b"echo %d" % number for number in range(50)])
    equal(call.code(), grpc.StatusCode.OK)


def metadata(client):
    """Request metadata, initial and trailing metadata, text and binary, on all four kinds."""
    sent = (
        ("x-text", "value with spaces"),
        ("x-many", "a"),
        ("x-many", "b"),
        ("x-raw-bin", b"\x00\x01\xfe\xff"),
    )
    arrived = json.loads(client.unary("Metadata", metadata=sent))
    for key, value in sent:
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        assert [key, text] in arrived, f"{key}: {value!r} is not in {arrived}"
    names = [key for key, _ in arrived]
    for name in ("x-forwarded-for", "x-request-id"):
        if len(sys.argv) > 3 and sys.argv[3] == "proxied":
            assert name in names, f"{name} is not in {arrived}"

    ask = (("x-ask-initial", "first"), ("x-ask-trailing", "last"))

    def check(call):
        initial = [(key, value) for key, value in call.initial_metadata() if key == "x-initial"]
        equal(initial, [("x-initial", "first")], "initial metadata")
        trailing = [(key, value) for key, value in call.trailing_metadata() if key.startswith("x-")]
        wanted = [("x-trailing", "last"), ("x-trailing", "twice"), ("x-raw-bin", b"\x00\xff\x01")]
        equal(sorted(trailing, key=str), sorted(wanted, key=str), "trailing metadata")

    check(client.unary_call("Unary", b"x", metadata=ask)[1])
    check(client.client_stream_call("ClientStream", iter([b"x"]), metadata=ask)[1])
    for call in (
        client.server_stream("ServerStream", b"3", metadata=ask),
        client.bidi("Bidi", iter([b"x"]), metadata=ask),
    ):
        list(call)
        check(call)


def statuses(client):
    """Every status code that is a failure, with details and trailing metadata."""
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        details = f"details of {code.name}: 100 % \u00fcber"
        ask = (("x-ask-trailing", code.name),)
        request = f"{code.name}:{details}".encode()
        error = fails(lambda: client.unary("Status", request, metadata=ask), code)
        equal(error.details(), details)
        trailing = error.trailing_metadata()
        assert ("x-trailing", code.name) in trailing, f"trailing metadata: {trailing}"


def late_status(client):
    """A failure after messages: they arrive first, then the status from the trailers."""
    call = client.server_stream("LateStatus", b"half way")
    got = []

    def read():
        for message in call:
            got.append(message)

    error = fails(read, grpc.StatusCode.DATA_LOSS)
    equal(got, [b"one", b"two"])
    equal(error.details(), "half way")
    assert ("x-why", "late") in error.trailing_metadata()


def deadline(client):
    """The deadline travels, shrunk by the time already spent, and is kept."""
    left = float(client.unary("Remaining", timeout=20))
    assert 10 < left <= 20, f"{left} s left of 20"
    equal(client.unary("Remaining", timeout=None), b"none", "without a deadline")
    start = time.monotonic()
    fails(lambda: client.unary("HangUnary", timeout=0.3), grpc.StatusCode.DEADLINE_EXCEEDED)
    took = time.monotonic() - start
    assert 0.3 <= took < 5, f"a deadline of 0.3 s took {took} s"
    equal(client.unary("WaitCancelled"), b"yes", "the server heard of it")


def big(client):
    """Messages of four megabytes each way, beyond every window."""
    message = bytes(range(256)) * (4 * 1024 * 1024 // 256)
    equal(client.unary("Unary", message) == message, True, "unary")
    answer, _ = client.client_stream_call("ClientStream", iter([message] * 3))
    equal(answer == b"|".join([message] * 3), True, "client stream")
    answers = list(client.bidi("Bidi", iter([message] * 3)))
    equal(answers == [b"echo " + message] * 3, True, "bidi")


def concurrent(client):
    """Fifty bidirectional streams open at once on one connection."""
    count = 50
    together = threading.Barrier(count, timeout=PATIENCE)
    failures = []

    def one(name):
        def requests():
            for number in range(5):
                yield b"%d/%d" % (name, number)

        try:
            call = client.bidi("Bidi", requests())
            first = next(call)
            together.wait()  # nobody goes on until all streams have answered once
            got = [first] + list(call)
            equal(got, [b"echo %d/%d" % (name, number) for number in range(5)])
        except BaseException as error:  # reported by the main thread
            failures.append(error)
            together.abort()

    threads = [threading.Thread(target=one, args=(name,)) for name in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def cancel(client):
    """A client that gives up, before and after the first message: the server hears of it."""
    call = client.server_stream("Hang")
    equal(next(call), b"hanging")
    equal(client.unary("WaitHanging"), b"yes", "the stream arrived")
    call.cancel()
    equal(client.unary("WaitCancelled"), b"yes", "after a message")
    future = client.channel.unary_unary(SERVICE + "HangUnary").future(b"")
    equal(client.unary("WaitHanging"), b"yes", "the call arrived")
    future.cancel()
    equal(client.unary("WaitCancelled"), b"yes", "before any message")


def cut_off(client):
    """A stream that goes silent is ended by the sidecar, with trailers that say why."""
    call = client.server_stream("Hang")
    equal(next(call), b"hanging")
    fails(lambda: next(call), grpc.StatusCode.DEADLINE_EXCEEDED)


def held_open(client):
    """A stream that is open while something happens: says `open`, and ends it when told."""
    told = threading.Event()

    def requests():
        yield b"first"
        told.wait(PATIENCE)
        yield b"last"

    call = client.bidi("Bidi", requests())
    equal(next(call), b"echo first")
    print("open", flush=True)
    sys.stdin.readline()
    told.set()
    equal(list(call), [b"echo last"])
    equal(call.code(), grpc.StatusCode.OK)


def expect_ok(client):
    """One unary call has to succeed."""
    client.unary("Unary", b"x")


def expect(client):
    """One unary call has to fail with the given code; prints the error's trailing metadata."""
    code = getattr(grpc.StatusCode, sys.argv[3])
    method = sys.argv[4] if len(sys.argv) > 4 else "Unary"
    timeout = float(sys.argv[5]) if len(sys.argv) > 5 else PATIENCE
    error = fails(lambda: client.unary(method, b"x", timeout=timeout), code)
    print(json.dumps({"details": error.details(), "trailing": [list(pair) for pair in error.trailing_metadata() or ()]}, default=str))


def limited(client):
    """Of forty calls exactly the given number is admitted; the rest is RESOURCE_EXHAUSTED."""
    admitted = 0
    for _ in range(40):
        try:
            client.unary("Unary", b"x")
            admitted += 1
        except grpc.RpcError as error:
            equal(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, error.details())
    equal(admitted, int(sys.argv[3]), "admitted")


SCENARIOS = (
    unary, client_stream, server_stream, bidi, metadata, statuses, late_status, deadline, big,
    concurrent, cancel, cut_off, held_open,
    expect_ok, expect, limited,
)


def main():
    scenario = {function.__name__: function for function in SCENARIOS}[sys.argv[2]]
    scenario(Client(sys.argv[1]))


if __name__ == "__main__":
    main()
