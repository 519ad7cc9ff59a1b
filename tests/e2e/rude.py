#!/usr/bin/env python3
"""Rude clients of the control socket, and hands that exchange files. One word says which; see hostile.bats.

rude.py hold PATH COUNT [TEXT]   opens COUNT connections, sends TEXT on each, says how many are open, waits
rude.py churn PATH               connects and closes, as fast as it goes
rude.py slow PATH                sends a request byte by byte, never to its end
rude.py deaf PATH COUNT          asks COUNT times for everything, and reads nothing
rude.py say PATH                 sends standard input, prints what is answered (to the end, 10 s at most)
rude.py swap FILE OTHER          exchanges FILE and OTHER all the time
rude.py scribble FILE            writes FILE anew all the time, by rename
"""
import ctypes
import os
import resource
import signal
import socket
import sys
import time


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(path)
    return sock


def try_to(func, *args):
    try:
        func(*args)
    except OSError:
        pass


def hold(path, count, text=""):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    socks = []
    for _ in range(int(count)):
        try:
            socks.append(connect(path))
            socks[-1].sendall(text.encode())
        except OSError:
            pass
    print("held", len(socks), flush=True)
    signal.pause()


def churn(path):
    print("begun", flush=True)
    while True:
        try_to(lambda: connect(path).close())


def slow(path):
    sock = connect(path)
    print("begun", flush=True)
    sock.sendall(b"GET /v1/status HTTP/1.1\r\nX: ")
    while True:
        sock.sendall(b"y")
        time.sleep(1)


def deaf(path, count):
    sock = connect(path)
    for _ in range(int(count)):
        sock.sendall(b"GET /v1/certs HTTP/1.1\r\n\r\n")
    print("begun", flush=True)
    signal.pause()


def say(path):
    sock = connect(path)
    try_to(sock.sendall, sys.stdin.buffer.read())
    out = b""
    try:
        while part := sock.recv(65536):
            out += part
    except OSError:
        pass
    sys.stdout.buffer.write(out)


def swap(file, other):
    renameat2 = ctypes.CDLL(None).renameat2
    here, there = os.fsencode(file), os.fsencode(other)
    print("begun", flush=True)
    while True:
        renameat2(-100, here, -100, there, 2)  # RENAME_EXCHANGE


def scribble(file):
    print("begun", flush=True)
    count = 0
    while True:
        count += 1
        with open(file + ".rude", "w") as out:
            out.write("scribble %d\n" % count)
        os.rename(file + ".rude", file)


{f.__name__: f for f in (hold, churn, slow, deaf, say, swap, scribble)}[sys.argv[1]](*sys.argv[2:])
