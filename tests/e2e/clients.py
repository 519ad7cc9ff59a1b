#!/usr/bin/env python3
"""clients.py HOST:PORT WHAT…: clients that a server on the network must bear.

  hold N [FROM]      N TLS connections that ask nothing, from address FROM; says "held" and how many of
                     them the server took, then waits to be ended
  silent|head|body   connects; says nothing, or a byte of a head, or of a body, each half second; prints
                     after how many seconds it was cut off, whole ones
  noise              random bytes instead of TLS, and instead of HTTP in TLS; prints how many it sent
"""
import os
import socket
import ssl
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def dial(source=""):
    plain = socket.create_connection((host, int(port)), 20, (source, 0))
    return plain


def secure(plain):
    return context.wrap_socket(plain)


def hold(count, source="127.0.0.1"):
    held = []
    for _ in range(int(count)):
        try:
            held.append(secure(dial(source)))
        except OSError:
            pass
    print("held", len(held), flush=True)
    time.sleep(60)


def trickle(first, then):
    began = time.monotonic()
    conn = dial()
    try:
        if first is not None:
            conn = secure(conn)
            conn.sendall(first)
        while time.monotonic() - began < 60:
            conn.settimeout(0.5)
            try:
                if not conn.recv(1):
                    break
            except TimeoutError:
                if then:
                    conn.sendall(then)
    except OSError:
        pass
    print(int(time.monotonic() - began), flush=True)


def noise():
    sent = 0
    for size in (1, 5, 100, 1000, 20000):
        for wrap in (lambda s: s, secure):
            for lead in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"POST /v1/join HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):
                conn = None
                try:
                    conn = wrap(dial())
                    conn.settimeout(2)
                    conn.sendall(lead + os.urandom(size))
                    sent += 1
                    conn.shutdown(socket.SHUT_WR)
                    while conn.recv(4096):
                        pass
                except OSError:
                    pass
                finally:
                    if conn:
                        conn.close()
    print(sent, flush=True)


what = sys.argv[2]
if what == "hold":
    hold(*sys.argv[3:])
elif what == "silent":
    trickle(None, b"")
elif what == "head":
    trickle(b"GET /v1/cluster HTTP/1.1\r\nX: ", b"y")
elif what == "body":
    trickle(b"POST /v1/join HTTP/1.1\r\nContent-Length: 1000\r\n\r\n", b"y")
elif what == "noise":
    noise()
else:
    sys.exit(2)
