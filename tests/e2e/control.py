#!/usr/bin/env python3
"""control.py SOCKET DIR: stands in for the daemon at its control socket.

What it was asked is in DIR/asked, one line for each request: "METHOD PATH LENGTH". A join whose body says
"hold" is answered when DIR/go exists; "large N" by N bytes; "break" by half an answer; "silent" by none;
"odd" by what is no HTTP; "chunked" in chunks; "status N" with that status.
"""
import http.server
import os
import socketserver
import sys
import threading
import time

path, out = sys.argv[1:]
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "gateway"

    def log_message(self, *args):
        pass

    def note(self, length):
        with lock, open(out + "/asked", "a") as f:
            f.write(f"{self.command} {self.path} {length}\n")

    def answer(self, body, status=200, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.note(0)
        if self.path == "/v1/metrics":
            self.answer(b"lockstep_generation 7\n", kind="text/html")
        else:
            self.answer(b'{"cluster":"prod"}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.note(len(body))
        word, _, number = body.decode("latin-1").partition(" ")
        if word == "hold":
            end = time.monotonic() + 60
            while not os.path.exists(out + "/go") and time.monotonic() < end:
                time.sleep(0.02)
        if word == "large":
            self.answer(b"x" * int(number), kind="application/octet-stream")
        elif word == "status":
            self.answer(b'{"said":1}', status=int(number))
        elif word == "break":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
            self.close_connection = True
        elif word == "silent":
            self.close_connection = True
        elif word == "odd":
            self.wfile.write(b"220 this is not HTTP\r\n\r\n")
            self.close_connection = True
        elif word == "chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\n{\"a\r\n3\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n")
        else:
            self.answer(body)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


if os.path.exists(path):
    os.unlink(path)
server = Server(path, Handler)
os.chmod(path, 0o666)
print("listening", flush=True)
server.serve_forever()
