"""An HTTP/2 server in cleartext with prior knowledge: the upstream of the translation tests.

Answers each request with JSON that says what arrived. `/trailers` adds a trailer. Prints its
port on the first line and serves until its input ends.
"""

import json
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.requests = {}

    def serve(self):
        self.h2.initiate_connection()
        self.sock.sendall(self.h2.data_to_send())
        while data := self.sock.recv(65536):
            for event in self.h2.receive_data(data):
                self.handle(event)
            self.sock.sendall(self.h2.data_to_send())

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = [event.headers, 0, []]
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id][1] += len(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.requests[event.stream_id][2] = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            self.answer(event.stream_id, *self.requests.pop(event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            self.requests.pop(event.stream_id, None)

    def answer(self, stream, headers, length, trailers):
        pseudo = {name[1:]: value for name, value in headers if name.startswith(":")}
        body = json.dumps(
            {
                "protocol": "HTTP/2",
                **pseudo,
                "headers": [pair for pair in headers if not pair[0].startswith(":")],
                "body_bytes": length,
                "trailers": trailers,
            }
        ).encode()
        head = [
            (":status", "200"),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
        ]
        if pseudo["method"] == "HEAD":
            self.h2.send_headers(stream, head, end_stream=True)
        elif pseudo["path"] == "/trailers":
            self.h2.send_headers(stream, head[:2])
            self.h2.send_data(stream, body)
            self.h2.send_headers(stream, [("x-checksum", "abc")], end_stream=True)
        else:
            self.h2.send_headers(stream, head)
            self.h2.send_data(stream, body, end_stream=True)


def serve(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        try:
            Connection(sock).serve()
        except OSError:
            pass  # the peer went


def accept(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
