"""A client traced by OpenTelemetry's own SDK: one span around one request, exported over OTLP.

    otlp_client.py URL RECEIVER_PORT HEADERS

HEADERS is `w3c` or `b3`, which the SDK's trace is written into. Prints the ids of its trace and span, and the status.
"""

import sys
import urllib.error
import urllib.request

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


def main():
    url, receiver, form = sys.argv[1:]
    provider = TracerProvider(resource=Resource.create({"service.name": "client"}))
    exporter = OTLPSpanExporter(endpoint=f"127.0.0.1:{receiver}", insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("client")
    with tracer.start_as_current_span("ask", kind=trace.SpanKind.CLIENT) as span:
        context = span.get_span_context()
        ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        headers = {}
        if form == "b3":
            headers["b3"] = f"{ids[0]}-{ids[1]}-1"
        else:
            propagate.inject(headers)
            assert "traceparent" in headers
        request = urllib.request.Request(url, headers=headers)
        try:
            status = urllib.request.urlopen(request, timeout=30).status
        except urllib.error.HTTPError as error:
            status = error.code
    provider.shutdown()
    print(*ids, status)


if __name__ == "__main__":
    main()
