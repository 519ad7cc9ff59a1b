#!/usr/bin/env bats
# The history as anybody can look at it: stock git and gpgsm read and check it, no private key is in it in the clear,
# `history verify` finds what was done to it, and what goes back or changes the sealing key does what it says.

bats_require_minimum_version 1.5.0

hist_build() {
	local build=${LOCKSTEP_BUILD:-build/san}

	case $build in
	/*) echo "$build" ;;
	*) echo "$BATS_TEST_DIRNAME/../../$build" ;;
	esac
}

hist_start() {
	"$(hist_build)/lockstepd" --root "$1" 2>> "$1/log" < /dev/null > /dev/null 3>&- &
	echo $! > "$1/pid"
	for _ in $(seq 100); do
		[ -S "$1/run/lockstep/control.sock" ] && return 0
		sleep 0.1
	done
	cat "$1/log"
	return 1
}

hist_stop() {
	[ -f "$1/pid" ] || return 0
	kill "$(cat "$1/pid")" 2> /dev/null || true
	for _ in $(seq 100); do
		kill -0 "$(cat "$1/pid")" 2> /dev/null || break
		sleep 0.1
	done
	rm -f "$1/pid"
}

hist_lockstep() {
	local root=$1

	shift
	"$(hist_build)/lockstep" --root "$root" "$@"
}

hist_git() {
	git --no-pager --git-dir="$HIST_GIT_DIR" "$@"
}

# A copy of the node without a daemon, which a test may damage; HIST_GIT_DIR is its history.
hist_copy() {
	HIST_COPY=$BATS_TEST_TMPDIR/copy
	rm -rf "$HIST_COPY"
	cp -a "$HIST_ROOT" "$HIST_COPY"
	rm -rf "$HIST_COPY/run" "$HIST_COPY/pid"
	HIST_GIT_DIR=$HIST_COPY/var/lib/lockstep/history.git
}

hist_start_copy() {
	hist_copy
	hist_start "$HIST_COPY"
}

# Makes a commit the head, for the store as well: whoever can write the one can write the other.
hist_forge_head() {
	local record=$HIST_COPY/var/lib/lockstep/store/record.json check

	hist_git update-ref refs/heads/main "$1"
	jq --arg commit "$1" --argjson generation "$2" \
		'.tip.commit = $commit | .tip.generation = $generation' "$record" > "$record.tmp"
	check=$(jq -cSj 'del(.check)' "$record.tmp" | sha256sum | cut -d' ' -f1)
	jq --arg check "$check" '.check = $check' "$record.tmp" > "$record"
}

# What git calls to sign (gpg.x509.program): CMS with HIST_SIGN_CERT and HIST_SIGN_KEY, in git's own form.
hist_signer() {
	cat > "$BATS_FILE_TMPDIR/sign" <<'SIGN'
#!/bin/sh
openssl cms -sign -binary -nosmimecap -md sha256 -outform PEM -signer "$HIST_SIGN_CERT" -inkey "$HIST_SIGN_KEY" |
	sed 's/CMS/SIGNED MESSAGE/'
printf '\n[GNUPG:] SIG_CREATED D\n' >&2
SIGN
	chmod +x "$BATS_FILE_TMPDIR/sign"
}

# One more generation with the tree of main, made with stock git alone; with a signature when -S is given.
hist_forge() {
	local next

	next=$(($(hist_git log -1 --format='%(trailers:key=Lockstep-Generation,valueonly,separator=)' main) + 1))
	printf 'proxy: install certificate\n\nLockstep-Generation: %s\nLockstep-Cause: operator\nLockstep-Participants: n1\n' \
		"$next" > "$BATS_TEST_TMPDIR/message"
	GIT_AUTHOR_NAME=root GIT_AUTHOR_EMAIL=root@n1 GIT_COMMITTER_NAME=n1 GIT_COMMITTER_EMAIL=n1@prod TZ=UTC \
		git --git-dir="$HIST_GIT_DIR" -c gpg.format=x509 -c gpg.x509.program="$BATS_FILE_TMPDIR/sign" \
		commit-tree "$@" -p main -F "$BATS_TEST_TMPDIR/message" 'main^{tree}' 2> /dev/null
}

# A signing certificate for a node, by a CA.
hist_certify() { # CA-CERT CA-KEY NODE OUT
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$4.key" -out "$4.csr" -subj "/O=prod/OU=$3"
	printf 'subjectAltName=URI:lockstep://prod/%s\nkeyUsage=critical,digitalSignature\n' "$3" > "$4.ext"
	openssl x509 -req -in "$4.csr" -CA "$1" -CAkey "$2" -days 3650 -extfile "$4.ext" -out "$4.pem"
}

# The cluster CA's key, as docs/recovery.md gets it.
hist_ca_key() {
	local lib=$HIST_ROOT/var/lib/lockstep dir=$BATS_TEST_TMPDIR epoch

	epoch=$(HIST_GIT_DIR=$lib/history.git hist_git show main:cluster/kek.json | jq .epoch)
	openssl cms -verify -inform PEM -in "$lib/store/kek/$epoch-n1.cms" -CAfile "$lib/identity/ca.pem" -purpose any \
		-binary -out "$dir/wrap.der"
	openssl cms -decrypt -inform DER -in "$dir/wrap.der" -inkey "$lib/identity/wrapping-$epoch-key.pem" \
		-recip "$lib/identity/wrapping-$epoch-cert.pem" > "$dir/kek"
	HIST_GIT_DIR=$lib/history.git hist_git show main:cluster/ca-key.cms |
		openssl cms -decrypt -inform PEM -secretkey "$(cat "$dir/kek")" -secretkeyid "$(printf %08x "$epoch")" \
			-out "$dir/ca.key"
}

# The cluster's CA known to gpgsm, in a home of its own (a short path: the agent's socket is in it).
hist_gnupg() {
	GNUPGHOME=$(mktemp -d /tmp/lsgpg.XXXXXX)
	export GNUPGHOME
	printf 'disable-crl-checks\nvalidation-model chain\n' > "$GNUPGHOME/gpgsm.conf"
	openssl x509 -in "$HIST_ROOT/var/lib/lockstep/identity/ca.pem" -noout -fingerprint -sha1 |
		sed 's/.*=//; s/$/ S relax/' > "$GNUPGHOME/trustlist.txt"
	gpgsm --batch --import "$HIST_ROOT/var/lib/lockstep/identity/ca.pem" 2> /dev/null
}

# Looks for keys in every object of the history: PEM, and the bytes of each key given (raw, hex, base64), also inside
# of what the objects hold in base64. Prints what it finds.
hist_scan() { # GIT-DIR KEY.pem…
	python3 - "$@" <<'SCAN'
import base64, re, subprocess, sys

def secrets_of(path):
    der = subprocess.check_output(["openssl", "pkey", "-in", path, "-outform", "DER"])
    text = subprocess.check_output(["openssl", "pkey", "-in", path, "-noout", "-text"]).decode()
    part = re.search(r"(?:priv|privateExponent|prime1):\s*((?:\s*[0-9a-f]{2}:?)+)", text).group(1)
    return [der, bytes.fromhex(re.sub(r"[\s:]", "", part)).lstrip(b"\0")]

needles = {}
for path in sys.argv[2:]:
    if path.endswith(".hex"):
        values = [bytes.fromhex(line.split()[-1]) for line in open(path)]
    else:
        values = secrets_of(path)
    for value in values:
        assert len(value) >= 16
        for form in (value, value.hex().encode(), value.hex().upper().encode(), base64.b64encode(value)):
            needles[form] = path
out = subprocess.check_output(["git", "--git-dir", sys.argv[1], "cat-file", "--batch-all-objects", "--batch"])
objects = found = at = 0
while at < len(out):
    end = out.index(b"\n", at)
    name, kind, size = out[at:end].split()
    data = out[end + 1 : end + 1 + int(size)]
    at = end + 1 + int(size) + 1
    objects += 1
    views = [data, data.replace(b"\n", b"").replace(b" ", b"")]
    for block in re.findall(rb"-----\s*((?:[ ]?[A-Za-z0-9+/=]+\n)+)\s*-----", data):
        views.append(base64.b64decode(re.sub(rb"\s", b"", block)))
    for view in views:
        if b"PRIVATE KEY" in view or b"PRIVATEKEY" in view:
            found += 1
            print("a private key in PEM in", name.decode())
        for needle, path in needles.items():
            if needle in view:
                found += 1
                print("the key", path, "in", name.decode())
print(objects, "objects,", len(needles), "forms,", found, "found")
sys.exit(found != 0)
SCAN
}

setup_file() {
	local ca=$BATS_FILE_TMPDIR/ca

	export HIST_ROOT=$BATS_FILE_TMPDIR/node
	mkdir -p "$HIST_ROOT/usr/share/lockstep" "$HIST_ROOT/etc/lockstep/templates" "$ca" "$BATS_FILE_TMPDIR/keys"
	cp -r "$BATS_TEST_DIRNAME/../../templates" "$BATS_TEST_DIRNAME/../../policies" "$HIST_ROOT/usr/share/lockstep"
	sed 's/"ec:P-256"/"rsa:2048"/' "$HIST_ROOT/usr/share/lockstep/templates/syncer.conf" \
		> "$HIST_ROOT/etc/lockstep/templates/syncer.conf"
	hist_signer
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$ca/root.key" -out "$ca/root.pem" \
		-days 30 -subj "/O=Example/CN=Example Root" -addext keyUsage=critical,keyCertSign
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$ca/leaf.key" -out "$ca/leaf.csr" \
		-subj "/CN=prod.example.com"
	printf '%s\n' extendedKeyUsage=serverAuth \
		"subjectAltName=DNS:prod.example.com,DNS:*.prod.example.com,DNS:internal.prod.example.com,DNS:*.internal.prod.example.com" \
		> "$ca/leaf.ext"
	openssl x509 -req -in "$ca/leaf.csr" -CA "$ca/root.pem" -CAkey "$ca/root.key" -days 10 -extfile "$ca/leaf.ext" \
		-out "$ca/leaf.pem"

	hist_lockstep "$HIST_ROOT" init --cluster prod --fqdn prod.example.com --node n1
	hist_start "$HIST_ROOT"
	cp -L "$HIST_ROOT"/etc/lockstep/certs/proxy_key.pem "$BATS_FILE_TMPDIR/keys/proxy-1.pem"
	cp -L "$HIST_ROOT"/etc/lockstep/certs/api_key.pem "$BATS_FILE_TMPDIR/keys/api-1.pem"
	hist_lockstep "$HIST_ROOT" cert set proxy --cert "$ca/leaf.pem" --key "$ca/leaf.key"
	hist_lockstep "$HIST_ROOT" cert csr cm --out "$ca/cm.csr"
	hist_lockstep "$HIST_ROOT" cert renew api --force
	hist_lockstep "$HIST_ROOT" seal rotate
	hist_stop "$HIST_ROOT"
}

teardown() {
	local pid

	for pid in "$BATS_TEST_TMPDIR"/*/pid; do
		[ -f "$pid" ] && hist_stop "$(dirname "$pid")"
	done
	if [ -n "${GNUPGHOME:-}" ]; then
		gpgconf --kill all
		rm -rf "$GNUPGHOME"
	fi
	return 0
}

# ---- stock git ----

@test "git log: one commit for each generation, by whom, why and with which trailers" {
	hist_copy
	[ "$(hist_git log --format=%s main)" = "new sealing key, epoch 2
api: renew by template
cm: new key and certificate request
proxy: install certificate
begin cluster prod" ]
	[ "$(hist_git log --format='%cn <%ce>' main | sort -u)" = "n1 <n1@prod>" ]
	[ "$(hist_git log --reverse --format='%(trailers:key=Lockstep-Generation,valueonly,separator=)' main)" = "1
2
3
4
5" ]
	[ "$(hist_git log --reverse --format='%(trailers:key=Lockstep-Cause,valueonly,separator=)' main)" = "init
operator
request
operator
seal" ]
	[ "$(hist_git log -1 --format='%(trailers:key=Lockstep-New,valueonly,separator=)' main~3)" = \
		"proxy=$(openssl x509 -in "$BATS_FILE_TMPDIR/ca/leaf.pem" -outform DER | sha256sum | cut -d' ' -f1)" ]
	[ "$(hist_git rev-list --count --merges main)" = 0 ]
}

@test "git diff: a generation changes what it says and nothing else" {
	hist_copy
	[ "$(hist_git diff --name-only main~4 main~3)" = "components/proxy/chain.pem
components/proxy/credential.json
components/proxy/key.cms
trust/proxy.pem" ]
	[ "$(hist_git diff --name-only main~3 main~2)" = "pending/cm/key.cms
pending/cm/request.pem" ]
	[ "$(hist_git diff --name-only main~1 main | grep -v 'key.cms$')" = "cluster/ca-key.cms
cluster/kek.json
cluster/nodes/n1.json" ] || [ "$(hist_git diff --name-only main~1 main | grep -v 'key.cms$')" = "cluster/kek.json
cluster/nodes/n1.json" ]
	hist_git diff main~4 main~3 -- components/proxy/credential.json | grep -q '^+  "origin": "installed"'
	cmp <(hist_git show main:components/proxy/chain.pem) "$HIST_ROOT/etc/lockstep/certs/proxy_cert.pem"
}

@test "git fsck --strict has nothing to say" {
	hist_copy
	run -0 hist_git fsck --strict --full --no-dangling
	[ -z "$output" ]
	[ "$(hist_git symbolic-ref HEAD)" = refs/heads/main ]
	git clone -q "$HIST_GIT_DIR" "$BATS_TEST_TMPDIR/clone"
	[ -f "$BATS_TEST_TMPDIR/clone/components/proxy/chain.pem" ]
}

@test "git verify-commit through gpgsm takes every commit, once it knows the cluster's CA" {
	local commit

	hist_copy
	hist_gnupg
	for commit in $(hist_git rev-list main); do
		run -0 hist_git -c gpg.format=x509 verify-commit "$commit"
		[[ "$output" == *'Good signature from "/OU=n1/O=prod"'* ]]
	done
	: > "$GNUPGHOME/trustlist.txt"
	gpgconf --kill all
	run ! hist_git -c gpg.format=x509 verify-commit main
}

@test "git verify-commit refuses a changed commit, an unsigned one and a foreign signer" {
	local changed

	hist_copy
	hist_gnupg
	changed=$(hist_git cat-file commit main | sed 's/^author root/author toor/' |
		hist_git hash-object -t commit -w --stdin)
	run ! hist_git -c gpg.format=x509 verify-commit "$changed"
	run ! hist_git -c gpg.format=x509 verify-commit "$(hist_forge)"
	cd "$BATS_TEST_TMPDIR"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout f.key -out f.pem -days 30 \
		-subj "/O=prod/CN=Lockstep cluster CA" 2> /dev/null
	hist_certify f.pem f.key n1 foreign 2> /dev/null
	export HIST_SIGN_CERT=$PWD/foreign.pem HIST_SIGN_KEY=$PWD/foreign.key
	run ! hist_git -c gpg.format=x509 verify-commit "$(hist_forge -S)"
}

# ---- no key in the clear ----

@test "no object holds a private key or the cluster's key, in any form" {
	local lib=$HIST_ROOT/var/lib/lockstep

	hist_copy
	hist_ca_key 2> /dev/null
	cp "$BATS_TEST_TMPDIR/kek" "$BATS_TEST_TMPDIR/kek.hex"
	run -0 hist_scan "$HIST_GIT_DIR" "$HIST_ROOT"/etc/lockstep/certs/*_key.pem "$BATS_FILE_TMPDIR"/keys/*.pem \
		"$lib"/identity/*-key.pem "$BATS_TEST_TMPDIR/ca.key" "$BATS_TEST_TMPDIR/kek.hex"
	[[ "$output" == *", 0 found" ]]
}

@test "the scan would find one: PEM, hex, raw, and in base64 between other bytes" {
	local key=$HIST_ROOT/etc/lockstep/certs/proxy_key.pem plant

	hist_copy
	plant() { # the bytes are on standard input
		hist_git hash-object -w --stdin > "$BATS_TEST_TMPDIR/id"
		run ! hist_scan "$HIST_GIT_DIR" "$key"
		[[ "$output" == *" in $(cat "$BATS_TEST_TMPDIR/id")"* ]]
		rm -f "$HIST_GIT_DIR/objects/$(sed 's|^..|&/|' "$BATS_TEST_TMPDIR/id")"
	}
	plant < "$key"
	openssl pkey -in "$key" -outform DER | plant
	openssl pkey -in "$key" -outform DER | od -An -v -tx1 | tr -d ' \n' | plant
	{
		echo "-----BEGIN CMS-----"
		{ printf 12345; openssl pkey -in "$key" -outform DER; printf 67; } | base64 -w 64
		echo "-----END CMS-----"
	} | plant
	hist_scan "$HIST_GIT_DIR" "$key"
}

# ---- history verify ----

@test "history verify holds on what was written" {
	hist_copy
	run -0 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == "5 generations hold"* ]]
	run -0 hist_lockstep "$HIST_COPY" history verify -o json
	[ "$(jq -r .verified <<< "$output")" = true ]
	[ "$(jq -r .head <<< "$output")" = "$(hist_git rev-parse main)" ]
	[ "$(jq -r .root <<< "$output")" = "$(hist_git rev-list --max-parents=0 main)" ]
}

@test "history verify finds a flipped byte anywhere in a pack or its index" {
	local file size at i pristine=$BATS_TEST_TMPDIR/pristine

	hist_copy
	for file in "$HIST_GIT_DIR"/objects/pack/pack-*.pack "$HIST_GIT_DIR"/objects/pack/pack-*.idx; do
		size=$(stat -c %s "$file")
		cp -p "$file" "$pristine"
		for i in 0 1 2 3 4 5 6 7; do
			at=$(((size - 1) * i / 7))
			chmod u+w "$file"
			printf '%b' "\\x$(printf %02x $((0x$(od -An -tx1 -j $at -N1 "$file" | tr -d ' ') ^ 1)))" |
				dd of="$file" bs=1 seek=$at conv=notrunc status=none
			run -1 hist_lockstep "$HIST_COPY" history verify
			cp -p "$pristine" "$file"
		done
	done
	hist_lockstep "$HIST_COPY" history verify
}

@test "history verify finds a pack that is gone" {
	local pack

	hist_copy
	for pack in "$HIST_GIT_DIR"/objects/pack/pack-*.pack; do
		mv "$pack" "$BATS_TEST_TMPDIR/away"
		run -1 hist_lockstep "$HIST_COPY" history verify
		mv "$BATS_TEST_TMPDIR/away" "$pack"
	done
	hist_lockstep "$HIST_COPY" history verify
}

@test "history verify: the forger's tools make a good commit when they have the node's own key" {
	hist_copy
	export HIST_SIGN_CERT=$HIST_COPY/var/lib/lockstep/identity/signing-cert.pem
	export HIST_SIGN_KEY=$HIST_COPY/var/lib/lockstep/identity/signing-key.pem
	hist_forge_head "$(hist_forge -S)" 6
	run -0 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == "6 generations hold"* ]]
}

@test "history verify finds a commit that somebody appended to main" {
	hist_copy
	hist_git update-ref refs/heads/main "$(hist_forge)"
	run -1 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == *"the store says"* ]]
	hist_copy
	hist_forge_head "$(hist_forge)" 6 # the store was changed to match
	run -1 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == *"not signed"* ]]
}

@test "history verify finds a foreign signer, whatever names its certificate has" {
	hist_copy
	cd "$BATS_TEST_TMPDIR"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout f.key -out f.pem -days 30 \
		-subj "/O=prod/CN=Lockstep cluster CA" 2> /dev/null
	hist_certify f.pem f.key n1 foreign 2> /dev/null
	export HIST_SIGN_CERT=$PWD/foreign.pem HIST_SIGN_KEY=$PWD/foreign.key
	hist_forge_head "$(hist_forge -S)" 6
	run -1 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == *"generation 6"* ]]
	[[ "$output" == *member* ]]
}

@test "history verify finds a signer that the CA certified but no generation lists; stock git takes it" {
	hist_copy
	hist_gnupg
	hist_ca_key 2> /dev/null
	cd "$BATS_TEST_TMPDIR"
	for node in n2 n1; do # n1: a second certificate for a member's name
		hist_copy
		hist_certify "$HIST_ROOT/var/lib/lockstep/identity/ca.pem" ca.key $node unlisted 2> /dev/null
		export HIST_SIGN_CERT=$PWD/unlisted.pem HIST_SIGN_KEY=$PWD/unlisted.key
		hist_forge_head "$(hist_forge -S)" 6
		hist_git -c gpg.format=x509 verify-commit main
		run -1 hist_lockstep "$HIST_COPY" history verify
		[[ "$output" == *member* ]]
	done
}

@test "history verify finds a rewritten parent" {
	local third fourth fifth

	hist_copy
	third=$(hist_git cat-file commit main~2 | sed 's/^author root/author toor/' |
		hist_git hash-object -t commit -w --stdin)
	fourth=$(hist_git cat-file commit main~1 | sed "s/^parent .*/parent $third/" |
		hist_git hash-object -t commit -w --stdin)
	fifth=$(hist_git cat-file commit main | sed "s/^parent .*/parent $fourth/" |
		hist_git hash-object -t commit -w --stdin)
	hist_git fsck --strict
	hist_forge_head "$fifth" 5
	run -1 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == *"generation 5"* ]]
}

@test "history verify finds a generation that was left out" {
	local head

	hist_copy
	head=$(hist_git cat-file commit main | sed "s/^parent .*/parent $(hist_git rev-parse main~2)/" |
		hist_git hash-object -t commit -w --stdin)
	hist_forge_head "$head" 5
	run -1 hist_lockstep "$HIST_COPY" history verify
}

@test "history verify finds that main was set back" {
	hist_copy
	hist_git update-ref refs/heads/main main~1
	run -1 hist_lockstep "$HIST_COPY" history verify
	[[ "$output" == *"the store says"* ]]
}

@test "history verify finds the history of another cluster in this one's place" {
	local other=$BATS_TEST_TMPDIR/other

	hist_copy
	mkdir -p "$other/usr/share"
	cp -r "$HIST_ROOT/usr/share/lockstep" "$other/usr/share"
	hist_lockstep "$other" init --cluster prod --fqdn prod.example.com --node n1
	rm -rf "$HIST_GIT_DIR"
	cp -a "$other/var/lib/lockstep/history.git" "$HIST_GIT_DIR"
	cp "$other/var/lib/lockstep/store/record.json" "$HIST_COPY/var/lib/lockstep/store/record.json"
	run -1 hist_lockstep "$HIST_COPY" history verify
}

@test "a daemon puts a main that somebody moved back to where the store says" {
	local head

	hist_copy
	head=$(hist_git rev-parse main)
	hist_git update-ref refs/heads/main "$(hist_forge)"
	hist_start "$HIST_COPY"
	[ "$(hist_git rev-parse main)" = "$head" ]
	hist_lockstep "$HIST_COPY" history verify
}

# ---- going back ----

@test "rollback makes a new generation with the credentials of then" {
	hist_start_copy
	run -0 hist_lockstep "$HIST_COPY" rollback 1 --dry-run
	[ "$(hist_git rev-list --count main)" = 5 ]
	run -0 hist_lockstep "$HIST_COPY" rollback 1
	[ "$(hist_git rev-list --count main)" = 6 ]
	for file in chain.pem credential.json template.json; do
		[ "$(hist_git rev-parse "main:components/proxy/$file")" = "$(hist_git rev-parse "main~5:components/proxy/$file")" ]
	done
	cmp "$HIST_COPY/etc/lockstep/certs/proxy_key.pem" "$BATS_FILE_TMPDIR/keys/proxy-1.pem"
	cmp "$HIST_COPY/etc/lockstep/certs/api_key.pem" "$BATS_FILE_TMPDIR/keys/api-1.pem"
	# sealed under the present key, with the present members and the open request
	hist_git show main:components/proxy/key.cms | openssl cms -cmsout -print -inform PEM | grep -q '0000 - 00 00 00 02'
	[ "$(hist_git rev-parse main:cluster)" = "$(hist_git rev-parse main~1:cluster)" ]
	[ "$(hist_git rev-parse main:pending)" = "$(hist_git rev-parse main~1:pending)" ]
	[ "$(hist_git log -1 --format='%(trailers:key=Lockstep-Restores,valueonly,separator=)' main)" = \
		"$(hist_git rev-parse main~5)" ]
	run -0 hist_lockstep "$HIST_COPY" rollback 1
	[[ "$output" == "nothing to do"* ]]
	run -3 hist_lockstep "$HIST_COPY" rollback 99
	run -2 hist_lockstep "$HIST_COPY" rollback zero
	hist_lockstep "$HIST_COPY" history verify
}

# ---- the sealing key ----

@test "seal rotate seals everything anew and changes nothing that is served" {
	local before path

	hist_start_copy
	before=$(cat "$HIST_COPY"/etc/lockstep/certs/*.pem | sha256sum)
	run -0 hist_lockstep "$HIST_COPY" seal rotate
	[ "$(hist_git show main:cluster/kek.json | jq -c '[.epoch, [.epochs[].epoch]]')" = "[3,[1,2,3]]" ]
	for path in $(hist_git ls-tree -r --name-only main | grep 'key\.cms$'); do
		hist_git show "main:$path" | openssl cms -cmsout -print -inform PEM | grep -q '0000 - 00 00 00 03'
		[ "$(hist_git rev-parse "main:$path")" != "$(hist_git rev-parse "main~1:$path")" ]
	done
	[ "$(cat "$HIST_COPY"/etc/lockstep/certs/*.pem | sha256sum)" = "$before" ]
	[ -f "$HIST_COPY/var/lib/lockstep/identity/wrapping-3-key.pem" ]
	[ -f "$HIST_COPY/var/lib/lockstep/store/kek/3-n1.cms" ]
	hist_lockstep "$HIST_COPY" status
	hist_lockstep "$HIST_COPY" history verify
}

@test "seal forget makes an epoch unreadable, and says what that does not reach" {
	local lib

	hist_start_copy
	lib=$HIST_COPY/var/lib/lockstep
	run -3 hist_lockstep "$HIST_COPY" seal forget 2
	[[ "$output" == *"the present one"* ]]
	run -3 hist_lockstep "$HIST_COPY" seal forget 9
	run -2 hist_lockstep "$HIST_COPY" seal forget first
	[ "$(hist_git rev-list --count main)" = 5 ]
	run -0 hist_lockstep "$HIST_COPY" seal forget 1
	[[ "$output" == *"copies elsewhere"* ]]
	[ "$(hist_git show main:cluster/kek.json | jq -c '[.epochs[].epoch]')" = "[2]" ]
	[ ! -e "$lib/identity/wrapping-1-key.pem" ]
	[ ! -e "$lib/store/kek/1-n1.cms" ]
	# its keys cannot be brought back, and the refusal changes nothing
	run -3 hist_lockstep "$HIST_COPY" rollback 1
	[ "$(hist_git rev-list --count main)" = 6 ]
	run -0 hist_lockstep "$HIST_COPY" seal forget 1
	[[ "$output" == *"nothing to do"* ]]
	hist_lockstep "$HIST_COPY" status
	hist_lockstep "$HIST_COPY" history verify
}

@test "seal export refuses what nobody should escrow to" {
	hist_copy
	cd "$BATS_TEST_TMPDIR"
	openssl req -x509 -newkey rsa:1024 -noenc -keyout weak.key -out weak.pem -days 3 -subj /CN=weak 2> /dev/null
	openssl req -x509 -newkey ed25519 -noenc -keyout ed.key -out ed.pem -days 3 -subj /CN=ed 2> /dev/null
	faketime '2020-01-01' openssl req -x509 -newkey rsa:2048 -noenc -keyout old.key -out old.pem -days 3 -subj /CN=old \
		2> /dev/null
	run -3 hist_lockstep "$HIST_COPY" seal export --to weak.pem
	[[ "$output" == *"2048"* ]]
	run -3 hist_lockstep "$HIST_COPY" seal export --to ed.pem
	run -3 hist_lockstep "$HIST_COPY" seal export --to old.pem
	run -3 hist_lockstep "$HIST_COPY" seal export --to weak.key
	run -1 hist_lockstep "$HIST_COPY" seal export --to nowhere.pem
	run -2 hist_lockstep "$HIST_COPY" seal export
}

@test "seal export gives every epoch to the escrow's key and to no other" {
	local kek

	hist_copy
	hist_ca_key 2> /dev/null
	cd "$BATS_TEST_TMPDIR"
	openssl req -x509 -newkey rsa:3072 -noenc -keyout e.key -out e.pem -days 3 -subj /CN=escrow 2> /dev/null
	openssl req -x509 -newkey rsa:3072 -noenc -keyout x.key -out x.pem -days 3 -subj /CN=escrow 2> /dev/null
	hist_lockstep "$HIST_COPY" seal export --to e.pem > escrow.cms
	run -0 openssl cms -decrypt -inform PEM -in escrow.cms -inkey e.key -recip e.pem
	[ "$(cut -d' ' -f1 <<< "$output")" = "1
2" ]
	[ "$(sed -n 's/^2 //p' <<< "$output")" = "$(cat kek)" ]
	run ! openssl cms -decrypt -inform PEM -in escrow.cms -inkey x.key -recip x.pem
	[ "$(hist_lockstep "$HIST_COPY" seal export --to e.pem -o json | jq -c .epochs)" = "[1,2]" ]
}
