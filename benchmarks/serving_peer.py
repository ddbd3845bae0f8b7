"""The peer of benchmarks/serving.py: the twenty lines that a notebook's author would write."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import tensorflow as tf

infer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]


class Handler(BaseHTTPRequestHandler):  # noqa: D101
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        outputs = infer(text=tf.constant(body["instances"]))
        rows = outputs["probabilities"].numpy().tolist()
        reply = json.dumps({"predictions": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):  # noqa: D101
    request_queue_size, daemon_threads = 256, True


server = Server(("127.0.0.1", 0), Handler)
infer(text=tf.constant(["warm"]))
print(json.dumps({"rest_port": server.server_port, "grpc_port": None}), flush=True)
server.serve_forever()
