#!/usr/bin/env python3
"""Looks for secrets, in every form in which a program may have held them.

hunt.py learn NEEDLES FILE… [--passin FILE]   adds what is secret in these PEM private keys
hunt.py learn-word NEEDLES LABEL WORD         adds a word: "hex:…" for bytes, else a text
hunt.py memory NEEDLES PID                    looks through all memory of a process
hunt.py files NEEDLES PATH…                   looks through files, whole trees of them
hunt.py plant NEEDLES FILE                    writes a part of each form, to see that it is found

What is found is printed, one line for each place: "WHAT FORM WHERE", and the exit status is 0 even
so: what may be where is the caller's to judge. Half a secret counts: WINDOW bytes of one form at any
offset are enough, as long as STRIDE-1 more are beside them.

Secret is what the public key does not tell: the scalar of EC, the seed of Ed25519 and the scalar
made of it, d, p, q, dp, dq and qinv of RSA. Its forms: the bytes in either order (OpenSSL's numbers
are little-endian), hex, base64 at each of three alignments, the lines of the PEM file that carry it,
those as JSON writes them, and those once more in base64, as they travel to the daemon.
"""
import base64, hashlib, os, pickle, re, subprocess, sys

WINDOW, STRIDE, PAGE = 12, 4, 4096


# ---- secrets and their forms


def encodings(data):
    """base64 without the digits that neighbours could change, at each alignment"""
    for skip in range(3):
        part = data[skip:]
        part = part[: len(part) // 3 * 3]
        yield f"base64/{skip}", base64.b64encode(part)


def forms_of_bytes(data):
    yield "bytes", data
    yield "reversed", data[::-1]
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    yield from encodings(data)


def forms_of_text(text):
    yield "text", text
    yield "json", text.replace(b"\n", b"\\n")
    yield "hex", text.hex().encode()
    for form, data in encodings(text):
        yield f"text in {form}", data


def numbers(path, passin):
    """what is secret in a key, as openssl names it, and its type"""
    out = subprocess.run(
        ["openssl", "pkey", "-in", path, "-noout", "-text"] + passin,
        capture_output=True, text=True, check=True).stdout
    secret = {"priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"}
    found, name = {}, None
    for line in out.splitlines():
        head = re.match(r"([A-Za-z][A-Za-z0-9 -]*):", line)
        if head:
            name = head.group(1)
        elif name in secret and line.startswith("    "):
            found[name] = found.get(name, "") + line.strip().replace(":", "")
    found = {name: bytes.fromhex(text).lstrip(b"\0") for name, text in found.items()}
    if "ED25519" in out:
        digest = bytearray(hashlib.sha512(found["priv"]).digest()[:32])
        digest[0] &= 248
        digest[31] = digest[31] & 63 | 64
        found["scalar"] = bytes(digest)
    return found


def lines_with(text, secrets):
    """the runs of a PEM file's text whose digits come from secret bytes alone"""
    block = re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", text, re.S)
    body = block.group(1).replace(b"\r", b"")
    der = base64.b64decode(body)
    at = [i for i, digit in enumerate(body) if digit != 10]  # of the nth digit
    for name, secret in secrets.items():
        start = der.find(secret)
        if start < 0:
            continue
        first, last = (start * 8 + 5) // 6, (start + len(secret)) * 8 // 6
        yield name, body[at[first] : at[last - 1] + 1]


class Needles:
    def __init__(self, path):
        self.path = path
        self.windows = {}  # window -> (what, form)
        self.forms = []  # (what, form, data)
        if os.path.exists(path):
            with open(path, "rb") as file:
                self.forms, self.windows = pickle.load(file)

    def add(self, what, form, data):
        if len(data) < WINDOW + STRIDE:
            sys.exit(f"{what} {form}: too short to be looked for")
        self.forms.append((what, form, data))
        for i in range(len(data) - WINDOW + 1):
            window = data[i : i + WINDOW]
            if len(set(window)) > 4:
                self.windows.setdefault(window, (what, form))

    def save(self):
        with open(self.path, "wb") as file:
            pickle.dump((self.forms, self.windows), file)

    def learn(self, path, passin):
        with open(path, "rb") as file:
            text = file.read()
        secrets = numbers(path, passin)
        if not secrets:
            sys.exit(f"{path}: no secret in it")
        what = os.path.basename(path)
        for name, secret in secrets.items():
            for form, data in forms_of_bytes(secret):
                self.add(f"{what}:{name}", form, data)
        if b"ENCRYPTED" in text:
            return
        for name, lines in lines_with(text, secrets):
            for form, data in forms_of_text(lines):
                self.add(f"{what}:{name}", form, data)

    def hits(self, data):
        """(offset, what, form), once for each secret and page"""
        windows, seen = self.windows, set()
        for page in range(0, len(data), PAGE):
            part = data[page : page + PAGE + WINDOW + STRIDE]
            if not part.strip(b"\0"):
                continue
            for i in range(0, min(PAGE, len(part) - WINDOW + 1), STRIDE):
                window = part[i : i + WINDOW]
                if window in windows:
                    what, form = windows[window]
                    if (page, what) not in seen:
                        seen.add((page, what))
                        yield page + i, what, form


# ---- where to look


def mappings(pid):
    """(start, end, permissions, name, flags) of each, from smaps"""
    current = None
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ \S+ *(.*)", line)
            if head:
                start, end = int(head.group(1), 16), int(head.group(2), 16)
                current = (start, end, head.group(3), head.group(4) or "anonymous")
            elif line.startswith("VmFlags:"):
                yield *current, line.split()[1:]


def present(pagemap, start, end, writable):
    """runs of pages that are in memory or in swap: the others hold nothing, and what cannot be
    written holds what is in its file"""
    count = (end - start) // PAGE
    entries = os.pread(pagemap, count * 8, start // PAGE * 8)
    run = None
    for i in range(len(entries) // 8 + 1):
        bits = int.from_bytes(entries[i * 8 : i * 8 + 8], "little") if i < len(entries) // 8 else 0
        here = bits >> 62 != 0 and (writable or not bits >> 61 & 1)
        if here and run is None:
            run = i
        elif not here and run is not None:
            yield start + run * PAGE, start + i * PAGE
            run = None


def hunt_memory(needles, pid):
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    looked = 0
    for start, end, permissions, name, flags in mappings(pid):
        if name in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
            continue
        for first, last in present(pagemap, start, end, permissions[1] == "w"):
            try:
                data = os.pread(mem, last - first, first)
            except OSError as error:
                print(f"UNREAD {name} {first:#x} {error}")
                continue
            looked += len(data)
            for at, what, form in needles.hits(data):
                kept = "locked" if "lo" in flags and "dd" in flags else "OPEN"
                print(f"{what} {form} {kept} {name} {permissions} {first + at:#x}")
    print(f"looked at {looked // 1024} KiB", file=sys.stderr)


def hunt_files(needles, paths):
    for path in paths:
        found = [path]
        if os.path.isdir(path):
            found = [os.path.join(d, f) for d, _, files in os.walk(path) for f in files]
        for name in found:
            if os.path.islink(name) or not os.path.isfile(name):
                continue
            with open(name, "rb") as file:
                for at, what, form in needles.hits(file.read()):
                    print(f"{what} {form} {name} {at}")


def plant(needles, path):
    """each part on a page of its own, at any offset, as short as may be"""
    held = bytearray()
    for _, _, data in needles.forms:
        middle = (len(data) - WINDOW - STRIDE) // 2
        held += data[middle : middle + WINDOW + STRIDE - 1] + b"\xaa" * (PAGE + 1)
    with open(path, "wb") as file:
        file.write(held)
    print(len(needles.forms))


def main(verb, path, *rest):
    needles = Needles(path)
    if verb == "learn":
        passin = []
        if "--passin" in rest:
            passin = ["-passin", "file:" + rest[-1]]
            rest = rest[:-2]
        for file in rest:
            needles.learn(file, passin)
        needles.save()
    elif verb == "learn-word":
        label, word = rest
        if word.startswith("hex:"):
            for form, data in forms_of_bytes(bytes.fromhex(word[4:])):
                needles.add(label, form, data)
        else:
            for form, data in forms_of_text(word.encode()):
                needles.add(label, form, data)
        needles.save()
    elif verb == "memory":
        hunt_memory(needles, int(rest[0]))
    elif verb == "files":
        hunt_files(needles, rest)
    elif verb == "plant":
        plant(needles, rest[0])
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
