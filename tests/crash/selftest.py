"""Damages a good node in each way that a rule is there for."""
import hashlib
import json
import os
import shutil

from kinds import Set
from node import Authority, Broken, contents, must, write


def damage(node):
    """Rule -> what breaks it."""
    lib, certs = node.lib, node.certs
    link = os.readlink(certs + "/..data")

    def edit_record(change):
        def do():
            record = node.record()
            record.pop("check")
            change(record)
            text = json.dumps(record, sort_keys=True, separators=(",", ":"))
            record["check"] = hashlib.sha256(text.encode()).hexdigest()
            write(lib + "/store/record.json", json.dumps(record, sort_keys=True, indent=1))
        return do

    def point_to(target):
        def do():
            os.unlink(certs + "/..data")
            os.symlink(target, certs + "/..data")
        return do

    def earlier_ref():
        write(lib + "/history.git/refs/heads/main", node.git("rev-parse", "main^").stdout)

    def copied_gen():
        must("cp", "-a", f"{certs}/{link}", certs + "/..gen-9-01234567")

    def other_root():
        path = lib + "/identity/node.json"
        identity = json.loads(contents(path))
        identity["root"] = "0" * 40
        write(path, json.dumps(identity, sort_keys=True, indent=1))

    def put(path, data=b""):
        return lambda: (write(path, data), os.chmod(path, 0o600))  # else that is what is noticed

    other = contents(f"{certs}/cm_key.pem")
    return [
        ("record is idle", edit_record(lambda r: r.update(rotation={"phase": "voting"}))),
        ("ref is the record's tip", earlier_ref),
        ("ref is the record's tip", edit_record(lambda r: r["tip"].update(commit="0" * 40))),
        ("link is the record's", lambda: (copied_gen(), point_to("..gen-9-01234567")())),
        ("link is the record's", edit_record(lambda r: r["tip"].update(dir_generation=7))),
        ("link does not dangle", point_to("..gen-9-01234567")),
        ("status", lambda: None), # number 6
        ("desired is on disk", lambda: [write(f"{certs}/{link}/proxy{end}", contents(f"{certs}/cm{end}"))
                                        for end in (".pem", "_cert.pem", "_key.pem")]),
        ("pairs match", put(f"{certs}/{link}/proxy_key.pem", other)),
        ("combined files match", put(f"{certs}/{link}/proxy.pem", contents(f"{certs}/cm.pem"))),
        ("history verify", other_root),
        ("git fsck", lambda: must("git", "-c", "safe.directory=*", "--git-dir=" + node.git_dir, "hash-object", "-w",
                                  __file__)),
        ("no debris in the state", put(lib + "/history.git/refs/heads/main.lock")),
        ("no debris in the state", put(lib + "/history.git/refs/lockstep/next", contents(lib + "/history.git/refs/heads/main"))),
        ("no debris in the state", put(lib + "/history.git/objects/pack/tmp_pack_x")),
        ("history verify", put(lib + "/history.git/objects/pack/pack-" + "0" * 40 + ".pack")),
        ("no debris in the state", put(lib + "/store/.record.json.new")),
        ("no debris in the state", put(lib + "/store/" + "0" * 40 + ".pack")),
        ("no debris in the state", put(lib + "/identity/wrapping-2-key.pem")),
        ("no debris in the state", put(lib + "/store/kek/2-n1.cms")),
        ("status", put(lib + "/init-running")),
        ("nothing lacks in the state", lambda: os.unlink(lib + "/identity/wrapping-1-key.pem")),
        ("no debris in the live directory", copied_gen),
        ("no debris in the live directory", lambda: os.symlink("x", certs + "/..tmp-1-link")),
        ("no debris in the live directory", lambda: os.symlink(link, certs + "/..data-next")),
        ("no debris in the live directory", lambda: os.unlink(certs + "/ca/cm.pem")),
        ("no debris in the live directory", put(f"{certs}/{link}/.proxy.pem.new")),
        ("nothing waits in incoming", put(node.incoming + "/proxy_cert.pem")),
        ("modes", lambda: os.chmod(f"{certs}/{link}/proxy_key.pem", 0o644)),
        ("whole or absent", lambda: write(f"{certs}/{link}/ca/cm.pem", contents(f"{certs}/proxy_cert.pem"))),
    ]


def self_test(where):
    """A good node, once whole and once damaged for each rule. Returns the number of failures."""
    kind, failures, seen = Set(where, Authority(where + "/ca")), 0, set()
    good = kind.node(where + "/good")
    must("cp", "-a", kind.template.root, good.root)
    write(good.log, "")
    good.start()
    kind.ask(good)
    good.stop()
    good.age()
    good.start()
    good.stop()
    good.check(False)
    assert kind.check_outcome(good) == "whole"
    for number in range(len(damage(good))):
        node = kind.node(f"{where}/damaged")
        must("cp", "-a", good.root, node.root)
        rule, do = damage(node)[number]
        do()
        try:
            node.check(number == 6) # where the damage is that no daemon runs
            kind.check_outcome(node)
            found = "nothing"
        except Broken as broken:
            found = broken.rule
        except (ValueError, KeyError, TypeError) as error:
            found = f"{type(error).__name__}: {error}"
        if found != rule:
            failures += 1
            print(f"not noticed: {rule} (damage {number}): found {found}")
        seen.add(rule)
        shutil.rmtree(node.root)
    print(f"self-test: {len(damage(good))} damages of {len(seen)} rules, {failures} not noticed")
    return failures
