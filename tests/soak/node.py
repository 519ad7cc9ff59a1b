"""node -- one real node for the slow proofs: its root, its daemon, a client of the control socket that keeps its
connection, and what /proc and the disk say about it."""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("LOCKSTEP_BUILD", "build/release"))
FQDN = "prod.example.com"
DEADLINE_S = 60


class Refused(Exception):
    """The daemon's answer was an error; code is the word of docs/man/lockstep.1."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.message, self.hint = error["code"], error["message"], error.get("hint", "")


class Unreachable(Exception):
    """No daemon, or it went away before it answered."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("lockstep", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        here = os.open(os.path.dirname(self.path), os.O_PATH)  # a socket's path holds 107 bytes
        try:
            self.sock.connect(f"/proc/self/fd/{here}/{os.path.basename(self.path)}")
        finally:
            os.close(here)


def change(kind, **fields):
    """The body of POST /v1/change (src/control/request.h)."""
    body = {"kind": kind, "sets": [], "names": [], "number": 0, "force": False, "replace_installed": False,
            "dry_run": False, "detach": False}
    body.update(fields)
    return json.dumps(body)


class Node:
    def __init__(self, root, components):
        self.root = root
        self.lib = os.path.join(root, "var/lib/lockstep")
        self.git_dir = os.path.join(self.lib, "history.git")
        self.certs = os.path.join(root, "etc/lockstep/certs")
        self.incoming = os.path.join(root, "etc/lockstep/incoming")
        self.log_path = os.path.join(root, "lockstepd.log")
        self.daemon = None
        self._connection = None
        share = os.path.join(root, "usr/share/lockstep")
        os.makedirs(os.path.join(share, "templates"))
        shutil.copytree(os.path.join(TOP, "policies"), os.path.join(share, "policies"))
        for name in components:
            shutil.copy(os.path.join(TOP, "templates", name + ".conf"), os.path.join(share, "templates"))

    # Programs.

    def lockstep(self, *words, check=True, **options):
        return subprocess.run([os.path.join(BUILD, "lockstep"), "--root", self.root, *words], check=check, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def init(self):
        self.lockstep("init", "--cluster", "prod", "--fqdn", FQDN, "--node", "n1")

    def start(self, env=None, wait=True):
        with open(self.log_path, "ab") as log:
            self.daemon = subprocess.Popen([os.path.join(BUILD, "lockstepd"), "--root", self.root], stdout=log,
                                           stderr=log, stdin=subprocess.DEVNULL, env=env)
        if wait:
            self.wait_healthy()

    def stop(self, kill=False):
        self.hang_up()
        if not self.daemon:
            return 0
        (self.daemon.kill if kill else self.daemon.terminate)()
        code = self.daemon.wait(DEADLINE_S)
        self.daemon = None
        return code

    def healthy(self):
        try:
            return self.get("/v1/status")["healthy"]
        except (Refused, Unreachable):
            return False

    def wait_healthy(self, deadline_s=DEADLINE_S):
        wait_for(self.healthy, deadline_s, "the node is not healthy")

    def git(self, *words, check=True):
        return subprocess.run(["git", "--git-dir", self.git_dir, "-c", "safe.directory=*", *words], check=check,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout

    # The control socket.

    def hang_up(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def request(self, method, path, body=None, on_line=None, timeout=10 * DEADLINE_S):
        """The last line of the answer as an object; on_line is called with each line before."""
        try:
            for _ in range(2):
                fresh = self._connection is None
                if fresh:
                    self._connection = _Connection(os.path.join(self.root, "run/lockstep/control.sock"), timeout)
                try:
                    self._connection.request(method, path, body)
                    answer = self._connection.getresponse()
                    break
                except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                    self.hang_up()
                    if fresh:  # an idle connection may rightly have been closed, a new one not
                        raise
            lines = []
            while line := answer.readline():
                lines.append(json.loads(line))
                if on_line:
                    on_line(lines[-1])
            answer.read()  # at the end of a sized body readline alone does not close it
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            self.hang_up()
            raise Unreachable(repr(error)) from error
        if not lines:
            self.hang_up()
            raise Unreachable("an empty answer")
        if "error" in lines[-1]:
            raise Refused(lines[-1]["error"])
        if "progress" in lines[-1]:
            self.hang_up()
            raise Unreachable("the answer ends in the middle")
        return lines[-1]

    def get(self, path):
        return self.request("GET", path)

    def change(self, kind, on_line=None, **fields):
        return self.request("POST", "/v1/change", change(kind, **fields), on_line)["result"]

    # What it costs.

    def cpu_s(self):
        """Of its threads; those of a daemon live as long as it does."""
        total = 0
        for task in os.listdir(f"/proc/{self.daemon.pid}/task"):
            with open(f"/proc/{self.daemon.pid}/task/{task}/schedstat") as stat:
                total += int(stat.read().split()[0])
        return total / 1e9

    def memory_kb(self):
        """(RSS, PSS, anonymous)"""
        with open(f"/proc/{self.daemon.pid}/smaps_rollup") as rollup:
            text = rollup.read()
        return tuple(int(re.search(rf"^{word}: +(\d+)", text, re.M).group(1)) for word in ("Rss", "Pss", "Anonymous"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/task"))

    def mappings(self):
        with open(f"/proc/{self.daemon.pid}/maps") as maps:
            return sum(1 for _ in maps)

    def packs(self):
        return sum(name.endswith(".pack") for name in os.listdir(os.path.join(self.git_dir, "objects/pack")))


def tree_size(path):
    """(files, bytes, bytes on disk) below a directory"""
    files = size = blocks = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                st = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            files, size, blocks = files + 1, size + st.st_size, blocks + 512 * st.st_blocks
    return files, size, blocks


def wait_for(condition, deadline_s, what):
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} within {deadline_s} s")
        time.sleep(0.02)
