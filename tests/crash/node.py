"""A node, the programs around it, and the rules that hold on its disk whatever happened to it."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.realpath(os.path.join(SOURCE, os.environ.get("LOCKSTEP_BUILD", "build/release")))
FQDN = "prod.example.com"
SANS = ",".join("DNS:" + name + FQDN for name in ("", "*.", "internal.", "*.internal."))
NAMES = ["api", "cm", "metrics_exporter", "proxy", "syncer"]
DEADLINE = 30  # seconds for what takes milliseconds on an idle machine
GRACE = 3600   # how much older the live directory is made, so that no time of grace needs to be waited for
ENV = dict(os.environ, LC_ALL="C", ASAN_OPTIONS="exitcode=86:detect_leaks=0", UBSAN_OPTIONS="exitcode=86:halt_on_error=1")
for name in ("LOCKSTEP_ROOT", "LOCKSTEP_CONFIG"):
    ENV.pop(name, None)


class Broken(Exception):
    """A rule that does not hold: its name, and what was found."""

    def __init__(self, rule, what):
        super().__init__(f"{rule}: {what}")
        self.rule = rule


def wait_for(condition, what, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Broken("in time", f"not within {seconds} s: {what}")
        time.sleep(0.01)


def run(*command, **more):
    return subprocess.run(command, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, **more)


def must(*command, **more):
    done = run(*command, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


# ---- certificates ----

class Authority:
    """A CA of an operator's, and pairs of it."""

    def __init__(self, where):
        self.where = where
        os.makedirs(where)
        must("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout",
             self.at("ca.key"), "-out", self.at("ca.pem"), "-days", "3650", "-subj", "/CN=ca",
             "-addext", "keyUsage=critical,keyCertSign")
        write(self.at("leaf.ext"), "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
              f"subjectAltName={SANS}\n")

    def at(self, name):
        return os.path.join(self.where, name)

    def sign(self, request, cert):
        must("openssl", "x509", "-req", "-in", request, "-CA", self.at("ca.pem"), "-CAkey", self.at("ca.key"),
             "-days", "300", "-extfile", self.at("leaf.ext"), "-out", cert)

    def pair(self, name):
        """NAME_cert.pem and NAME_key.pem; NAME_full.pem has the root as well, which is kept for clients."""
        key, cert, request = (self.at(name + end) for end in ("_key.pem", "_cert.pem", ".csr"))
        must("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", key,
             "-out", request, "-subj", "/CN=" + FQDN)
        self.sign(request, cert)
        write(self.at(name + "_full.pem"), contents(cert) + contents(self.at("ca.pem")))
        return cert, key


def pair_matches(cert, key):
    """As a server that is given them sees it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        return True
    except (ssl.SSLError, OSError):
        return False


# ---- a node ----

class Socket(http.client.HTTPConnection):
    """The daemon's socket, reached through its directory's descriptor: a socket's name has to be short."""

    def __init__(self, directory):
        super().__init__("localhost", timeout=DEADLINE)
        self.directory = directory

    def connect(self):
        fd = os.open(self.directory, os.O_PATH)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(DEADLINE)
            self.sock.connect(f"/proc/self/fd/{fd}/control.sock")
        except OSError:
            self.sock.close()
            raise
        finally:
            os.close(fd)


class Node:
    names = NAMES

    def __init__(self, root):
        self.root = root
        self.certs = self.at("etc/lockstep/certs")
        self.incoming = self.at("etc/lockstep/incoming")
        self.lib = self.at("var/lib/lockstep")
        self.git_dir = self.at("var/lib/lockstep/history.git")
        self.log = root + ".log"
        self.daemon = None
        self.reader = None
        self.trust = None

    def at(self, path):
        return os.path.join(self.root, path)

    def ships(self):
        os.makedirs(self.at("usr/share/lockstep"))
        shutil.copytree(SOURCE + "/policies", self.at("usr/share/lockstep/policies"))
        os.makedirs(self.at("usr/share/lockstep/templates"))
        for name in self.names:
            shutil.copy(f"{SOURCE}/templates/{name}.conf", self.at("usr/share/lockstep/templates"))

    def configure(self, more=""):
        os.makedirs(self.at("etc/lockstep/templates"), exist_ok=True)
        write(self.at("etc/lockstep/lockstep.conf"),
              "reconcile_s = 1; intake = { settle_ms = 20; patience_s = 1; };\n" + more)

    def lockstep(self, *args):
        return run(BUILD + "/lockstep", "--root", self.root, *args)

    def must(self, *args):
        done = self.lockstep(*args)
        if done.returncode != 0:
            raise RuntimeError(f"lockstep {' '.join(args)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def git(self, *args):
        return run("git", "-c", "safe.directory=*", "--git-dir=" + self.git_dir, *args)

    def start(self):
        with open(self.log, "a") as log:
            self.daemon = subprocess.Popen([BUILD + "/lockstepd", "--root", self.root], env=ENV, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, start_new_session=True)
        self.await_healthy()

    def await_healthy(self):
        def healthy():
            if self.daemon and self.daemon.poll() is not None:
                raise Broken("restarts", f"lockstepd ended with {self.daemon.returncode}: {self.last_words()}")
            return self.ask("GET", "/v1/status").get("healthy")
        try:
            wait_for(healthy, "lockstep status is healthy")
        except Broken as broken:
            said = self.lockstep("status")
            raise Broken("healthy again", f"{broken}\n{said.stdout}{said.stderr}{self.last_words()}") from None

    def ask(self, method, path, body=None):
        """The daemon's answer, as the command line gets it; {} when there is none."""
        connection = Socket(self.at("run/lockstep"))
        try:
            connection.request(method, path, json.dumps(body) if body else None)
            lines = connection.getresponse().read().splitlines()
            return json.loads(lines[-1]) if method == "POST" else json.loads(b"".join(lines))
        except (OSError, http.client.HTTPException, ValueError, IndexError):
            return {}
        finally:
            connection.close()

    def problems(self):
        return self.ask("GET", "/v1/status").get("problems", [])

    def change(self, kind, **what):
        whole = {"sets": [], "names": [], "number": 0, "force": False, "replace_installed": False, "dry_run": False,
                 "detach": False}
        return self.ask("POST", "/v1/change", {"kind": kind, **whole, **what})

    def flush(self):
        """What a change has left to do is done before this is answered."""
        return "result" in self.change("rollback", number=1, dry_run=True)

    def last_words(self):
        return "".join("\n    " + line for line in contents(self.log).decode(errors="replace").splitlines()[-6:])

    def stop(self):
        if not self.daemon:
            return
        self.daemon.send_signal(signal.SIGTERM)
        try:
            code = self.daemon.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            raise Broken("stops", "SIGTERM did not end the daemon") from None
        finally:
            self.daemon = None
        if code != 0:
            raise Broken("stops", f"the daemon ended with {code}: {self.last_words()}")

    def kill(self):
        """Whatever still runs."""
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        if self.reader:
            self.reader.drop()
            self.reader = None

    def age(self):
        """What readers are given time for has had it."""
        past = time.time() - GRACE
        for where, dirs, files in os.walk(self.certs):
            for name in dirs + files:
                os.utime(os.path.join(where, name), (past, past), follow_symlinks=False)

    # What stands on disk.

    def record(self):
        return json.loads(contents(self.lib + "/store/record.json"))

    def generation(self):
        return self.record()["tip"]["generation"]

    def live(self):
        """What readers get: name -> (mode, bytes)."""
        out = {}
        for name in self.names:
            for file in (f"{name}_cert.pem", f"{name}_key.pem", f"{name}.pem", f"ca/{name}.pem"):
                if file.startswith("ca/") and name not in self.trusted():
                    continue
                try:
                    path = os.path.join(self.certs, file)
                    out[file] = (stat.S_IMODE(os.stat(path).st_mode), contents(path))
                except OSError as error:
                    raise Broken("live files", f"{file}: {error}") from None
        return out

    def trusted(self):
        """Components of which clients know whom to trust."""
        if not self.trust:
            names = self.git("ls-tree", "--name-only", "main:trust").stdout.split()
            self.trust = {name.removesuffix(".pem") for name in names}
        return self.trust

    def wraps(self):
        return (sorted(n for n in os.listdir(self.lib + "/identity") if n.startswith("wrapping-")),
                sorted(os.listdir(self.lib + "/store/kek")))

    # The rules. Each raises Broken.

    def check_status(self, running):
        status = self.ask("GET", "/v1/status") if running else json.loads(self.lockstep("-o", "json", "status").stdout)
        if "components" not in status or (running and not status.get("healthy")):
            raise Broken("status", str(status))
        for component in status["components"]:
            if component["desired"] != component["disk"]:
                raise Broken("desired is on disk", component["name"])
        if sorted(component["name"] for component in status["components"]) != self.names:
            raise Broken("components", str(status["components"]))

    def check_record(self):
        record = self.record()
        if record["rotation"] is not None:
            raise Broken("record is idle", f"phase {record['rotation']['phase']}")
        tip = record["tip"]
        ref = contents(self.git_dir + "/refs/heads/main").decode().strip()
        if ref != tip["commit"]:
            raise Broken("ref is the record's tip", f"{ref}, not {tip['commit']}")
        link = os.readlink(self.certs + "/..data")
        if not os.path.isdir(self.certs + "/" + link):
            raise Broken("link does not dangle", link)
        want = f"..gen-{tip['dir_generation']}-{tip['dir_commit'][:8]}"
        if link != want:
            raise Broken("link is the record's", f"{link}, not {want}")

    def check_pairs(self):
        for name in self.names:
            cert, key, both = (f"{self.certs}/{name}{end}" for end in ("_cert.pem", "_key.pem", ".pem"))
            if not pair_matches(cert, key):
                raise Broken("pairs match", name)
            if not pair_matches(both, both) or contents(cert) not in contents(both):
                raise Broken("combined files match", name)

    def check_history(self):
        done = self.lockstep("history", "verify")
        if done.returncode != 0:
            raise Broken("history verify", f"exit {done.returncode}: {done.stdout}{done.stderr}")
        done = self.git("fsck", "--strict", "--unreachable", "--no-progress")
        if done.returncode != 0 or done.stdout:
            raise Broken("git fsck", f"exit {done.returncode}: {done.stdout}{done.stderr}")

    def in_grace(self):
        """Directories of the generations just before, when they have been so for a moment only."""
        last = self.record()["tip"]["generation"]
        commits = self.git("rev-list", "--max-count=3", "main").stdout.split()
        names = {f"..gen-{last - i}-{commit[:8]}" for i, commit in enumerate(commits)}
        return {name for name in names if os.path.isdir(f"{self.certs}/{name}")
                and os.stat(f"{self.certs}/{name}").st_mtime > time.time() - GRACE / 2}

    def check_debris(self):
        """Every file is one that belongs there."""
        link = os.readlink(self.certs + "/..data")
        epochs = json.loads(self.git("show", "main:cluster/kek.json").stdout)["epochs"]
        numbers = [int(e["epoch"]) if isinstance(e, dict) else int(e) for e in epochs]
        fine = {"lock", "store/lock", "store/record.json", "history.git/HEAD", "history.git/config",
                "history.git/refs/heads/main", "identity/node.json", "identity/ca.pem", "identity/signing-key.pem",
                "identity/signing-cert.pem"}
        for number in numbers:
            fine |= {f"store/kek/{number}-n1.cms", f"identity/wrapping-{number}-key.pem",
                     f"identity/wrapping-{number}-cert.pem"}
        found = {os.path.relpath(os.path.join(where, file), self.lib)
                 for where, _, files in os.walk(self.lib) for file in files}
        packs = {file for file in found if re.fullmatch(r"history\.git/objects/pack/pack-[0-9a-f]{40}\.(pack|idx)", file)}
        halves = {file for file in packs if os.path.splitext(file)[0] + ".pack" not in packs
                  or os.path.splitext(file)[0] + ".idx" not in packs}
        refused = {file for file in found if file.startswith("rejected/")}
        stray = sorted((found - fine - packs - refused) | halves)
        if stray:
            raise Broken("no debris in the state", ", ".join(stray))
        if fine - found:
            raise Broken("nothing lacks in the state", ", ".join(sorted(fine - found)))
        grace = self.in_grace()
        cas = {name + ".pem" for name in self.trusted()}
        fine = {"..data", link, "ca"} | {name + end for name in self.names for end in (".pem", "_cert.pem", "_key.pem")}
        for where, allowed in ((self.certs, fine), (self.certs + "/ca", cas),
                               (f"{self.certs}/{link}", fine - {"..data", link}),
                               (f"{self.certs}/{link}/ca", cas)):
            stray = (set(os.listdir(where)) ^ allowed) - grace
            if stray:
                raise Broken("no debris in the live directory", f"{os.path.relpath(where, self.certs)}: {sorted(stray)}")
        if os.listdir(self.incoming):
            raise Broken("nothing waits in incoming", str(os.listdir(self.incoming)))

    def check(self, running=True):
        self.check_record()
        self.check_status(running)
        self.check_pairs()
        self.check_history()
        self.check_debris()


class Injected:
    """A program under the injector."""

    def __init__(self, node, fault, nth, *command):
        with open(node.log, "a") as log:
            self.process = subprocess.Popen([BUILD + "/tests/inject", fault, str(nth), *command], env=ENV, text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                            start_new_session=True)
        self.points, self.end = [], None
        self.heard = threading.Condition()
        self.words = set()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            word = line.split()[0]
            with self.heard:
                if word == "point":
                    self.points.append(line.split(None, 2)[2].strip())
                elif word in ("exit", "signal"):
                    self.end = line.strip()
                self.words.add(word)
                self.heard.notify_all()
        with self.heard:
            self.end = self.end or "the injector died"
            self.heard.notify_all()

    def say(self, word, answer=None):
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except OSError:
            pass
        with self.heard:
            if answer and not self.heard.wait_for(lambda: answer in self.words or self.end, DEADLINE):
                raise Broken("in time", f"the injector does not answer to {word}")

    def struck(self):
        with self.heard:
            return bool(self.points)

    def poll(self):
        return None if self.end is None else self.end

    def await_end(self):
        with self.heard:
            if not self.heard.wait_for(lambda: self.end, DEADLINE):
                raise Broken("in time", "the program does not end")
        return self.end

    def done(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass # it has ended, and did not read the last word
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


class Reader:
    """Reads a component's pair every millisecond."""

    def __init__(self, node, component):
        self.process = subprocess.Popen([BUILD + "/tests/reader", node.certs, component, "1000"], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self):
        self.process.terminate()
        out, err = self.process.communicate(timeout=DEADLINE)
        seen = json.loads(out)
        if seen["bad"] or seen["vanished"]:
            raise Broken("readers", f"{out.strip()} {err.strip()}")
        return seen["reads"]

    def drop(self):
        self.process.kill()
        self.process.communicate()
