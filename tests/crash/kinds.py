"""The kinds of change: how the node of each is made, how it is asked for, and when it is whole."""
import json
import os
import re
import shutil
import socket
import ssl
import threading
import time

from node import DEADLINE, FQDN, NAMES, SOURCE, Broken, Node, contents, write

INIT = ["init", "--cluster", "prod", "--fqdn", FQDN, "--node", "n1"]


class Kind:
    """A change: how its node is made, how it is asked for, and when it is whole."""
    name = ""
    reader = "proxy"      # whose pair is read all the while
    by = 1                # how many generations it makes
    answered = True       # a command line waits for it
    names = ["cm", "proxy"]

    def __init__(self, where, authority):
        self.ca = authority
        self.template = self.node(os.path.join(where, "template-" + self.name))
        self.template.ships()
        self.make(self.template)
        self.template.age()

    def node(self, root):
        node = Node(root)
        node.names = self.names
        return node

    def make(self, node):
        node.configure()
        node.must(*INIT, "--quiet")
        node.start()
        self.prepare(node)
        node.stop()
        node.age()
        node.start() # what preparing left is tidied away
        node.stop()

    def prepare(self, node):
        pass

    def ask(self, node):
        raise NotImplementedError

    def settled(self, node, struck):
        """After the restart: true when what was written into files has been dealt with."""
        return True

    def is_whole(self, node):
        raise NotImplementedError

    def end(self):
        pass

    def expect_live(self, node, changed):
        """All that is live is as before, but for `changed`: component -> certificate file."""
        was, now = self.template.live(), node.live()
        for file, (mode, data) in now.items():
            component = re.sub(r"(_cert|_key)?\.pem$", "", os.path.basename(file))
            if file not in was: # whom clients trust, which comes and goes with the root
                if component not in changed:
                    raise Broken("whole or absent", f"{file} is new")
                continue
            if mode != was[file][0]:
                raise Broken("modes", f"{file}: {mode:o}, was {was[file][0]:o}")
            if component not in changed:
                if data != was[file][1]:
                    raise Broken("whole or absent", f"{file} changed, and should not have")
            elif file.endswith("_cert.pem") and data != contents(changed[component]):
                raise Broken("whole or absent", f"{file} is not what was given")

    def check_outcome(self, node):
        """'absent' or 'whole'."""
        by = node.generation() - self.template.generation()
        if by == 0:
            if node.record()["tip"]["commit"] != self.template.record()["tip"]["commit"]:
                raise Broken("whole or absent", "another commit, of the same generation")
            if node.wraps() != self.template.wraps():
                raise Broken("whole or absent", f"keys of epochs {node.wraps()}")
            self.expect_live(node, {})
            return "absent"
        if by != self.by:
            raise Broken("whole or absent", f"{by} generations more, wanted 0 or {self.by}")
        self.is_whole(node)
        return "whole"


class Set(Kind):
    name = "set"

    def prepare(self, node):
        self.cert, self.key = self.ca.pair("set")

    def ask(self, node):
        return node.lockstep("cert", "set", "proxy", "--cert", self.cert, "--key", self.key)

    def is_whole(self, node):
        self.expect_live(node, {"proxy": self.cert})


class SetFrom(Kind):
    name = "set-from"
    names = NAMES

    def prepare(self, node):
        self.dir = self.ca.at("from")
        os.makedirs(self.dir)
        for name in NAMES:
            shutil.copy(self.ca.pair(name)[1], self.dir)
            shutil.copy(self.ca.at(name + "_full.pem"), f"{self.dir}/{name}_cert.pem")

    def ask(self, node):
        return node.lockstep("cert", "set", "--from", self.dir)

    def is_whole(self, node):
        self.expect_live(node, {name: self.ca.at(name + "_cert.pem") for name in NAMES})


class Incoming(Kind):
    name = "incoming"
    answered = False

    def prepare(self, node):
        self.cert, self.key = self.ca.pair("incoming")

    def to(self, node):
        return (node.incoming + "/proxy_cert.pem", node.incoming + "/proxy_key.pem")

    def ask(self, node):
        for source, target in zip((self.key, self.ca.at("incoming_full.pem")), reversed(self.to(node))):
            write(target, contents(source))

    def settled(self, node, struck):
        """It is taken in the end, whatever happened: the files in incoming/ are not lost."""
        return node.generation() == self.template.generation() + 1 and not os.listdir(node.incoming)

    def waits(self, node):
        """The words in which the daemon says that there is no room, in its status."""
        return any("No space left on device" in problem for problem in node.problems())

    def check_waits(self, node):
        """While there is no room: all is as before, and what was written is kept. Or it was decided before the disk was
        full: then it is in force all the same, and only the rest of the rotation waits."""
        if node.generation() == self.template.generation() + 1:
            self.expect_live(node, {"proxy": self.cert})
            return
        if node.generation() != self.template.generation():
            raise Broken("nothing changes while it waits", f"generation {node.generation()}")
        self.expect_live(node, {})
        for path, data in zip(self.to(node), (contents(self.ca.at("incoming_full.pem")), contents(self.key))):
            if not os.path.exists(path) or contents(path) != data:
                raise Broken("what waits is kept", path)

    def is_whole(self, node):
        if os.listdir(node.lib + "/rejected"):
            raise Broken("nothing refused", str(os.listdir(node.lib + "/rejected")))
        self.expect_live(node, {"proxy": self.cert})


class Overwritten(Incoming):
    """What was written over live files lives in the daemon's memory until it is taken: a daemon that dies takes it
    along. Then the earlier pair stands, or a key that came alone is refused."""
    name = "overwritten"
    reader = "cm" # between the write and its healing the pair is somebody else's

    def to(self, node):
        return (node.certs + "/proxy_cert.pem", node.certs + "/proxy_key.pem")

    def settled(self, node, struck):
        if not hasattr(node, "patience_end"):
            node.patience_end = time.monotonic() + 1.5
        return node.generation() > self.template.generation() or os.listdir(node.lib + "/rejected") or \
            (struck and time.monotonic() > node.patience_end)

    def waits(self, node):
        """Files that cannot be put back are in the log."""
        return not node.ask("GET", "/v1/status").get("healthy", True) and b"No space left on device" in contents(node.log)

    def check_waits(self, node):
        """While there is no room: who was not written over is as before."""
        if node.generation() not in (self.template.generation(), self.template.generation() + 1):
            raise Broken("nothing changes while it waits", f"generation {node.generation()}")
        was, now = self.template.live(), node.live()
        for file in was:
            if not file.removeprefix("ca/").startswith("proxy") and now[file] != was[file]:
                raise Broken("nothing changes while it waits", file)

    def is_whole(self, node):
        self.expect_live(node, {"proxy": self.cert})


class Request(Kind):
    name = "csr"
    reader = "cm"

    def ask(self, node):
        return node.lockstep("cert", "csr", "cm")

    def is_whole(self, node):
        self.expect_live(node, {})
        for file in ("request.pem", "key.cms"):
            if node.git("cat-file", "-e", "main:pending/cm/" + file).returncode != 0:
                raise Broken("whole or absent", f"pending/cm/{file} is not in the tree")


class SetRequested(Kind):
    name = "csr-set"
    reader = "cm"

    def prepare(self, node):
        request, self.cert = self.ca.at("cm.csr"), self.ca.at("requested.pem")
        node.must("cert", "csr", "cm", "--out", request)
        self.ca.sign(request, self.cert)

    def ask(self, node):
        return node.lockstep("cert", "set", "cm", "--cert", self.cert)

    def is_whole(self, node):
        self.expect_live(node, {"cm": self.cert})
        if node.git("cat-file", "-e", "main:pending/cm/key.cms").returncode == 0:
            raise Broken("whole or absent", "the request is still open")


class Rollback(Kind):
    name = "rollback"

    def prepare(self, node):
        self.first = self.ca.at("first.pem")
        write(self.first, contents(node.certs + "/proxy_cert.pem"))
        cert, key = self.ca.pair("second")
        node.must("cert", "set", "proxy", "--cert", cert, "--key", key)

    def ask(self, node):
        return node.lockstep("rollback", "1")

    def is_whole(self, node):
        self.expect_live(node, {"proxy": self.first})


class SealRotate(Kind):
    name = "seal-rotate"

    def ask(self, node):
        return node.lockstep("seal", "rotate")

    def is_whole(self, node):
        self.expect_live(node, {})
        if json.loads(node.git("show", "main:cluster/kek.json").stdout)["epoch"] != 2:
            raise Broken("whole or absent", "the epoch is not 2")


class Served(Kind):
    """A service that goes on showing the earlier certificate: the change is applied, not taken, and undone."""
    name = "automatic-rollback"
    by = 2

    def make(self, node):
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        node.configure("rotation = { served_s = 1; };\n")
        write(node.at("etc/lockstep/templates/proxy.conf"),
              contents(f"{SOURCE}/templates/proxy.conf").decode() +
              f'\nserve = ( {{ endpoint = "127.0.0.1:{port}"; name = "{FQDN}"; }} );\n')
        node.must(*INIT, "--quiet")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(node.certs + "/proxy_cert.pem", node.certs + "/proxy_key.pem")
        threading.Thread(target=self.serve, args=(context,), daemon=True).start()
        node.start()
        self.cert, self.key = self.ca.pair("unserved")
        node.stop()

    def serve(self, context):
        def one(sock):
            try:
                sock.settimeout(DEADLINE)
                with context.wrap_socket(sock, server_side=True) as tls:
                    tls.recv(1)
            except (OSError, ssl.SSLError):
                pass
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    def ask(self, node):
        return node.lockstep("cert", "set", "proxy", "--cert", self.cert, "--key", self.key)

    def is_whole(self, node):
        """Whole is: gone through and undone."""
        self.expect_live(node, {})

    def end(self):
        self.listener.close()


class Init(Kind):
    name = "init"

    def make(self, node):
        node.configure()

    def ask(self, node):
        return node.lockstep(*INIT)

    def check_outcome(self, node):
        if node.generation() != 1:
            raise Broken("whole or absent", f"generation {node.generation()}")
        for file, (mode, _) in node.live().items():
            public = file.endswith("_cert.pem") or file.startswith("ca/")
            if mode != (0o644 if public else 0o640):
                raise Broken("modes", f"{file}: {mode:o}")
        return "whole"


KINDS = [Init, Set, SetFrom, Incoming, Overwritten, Request, SetRequested, Rollback, SealRotate, Served]
