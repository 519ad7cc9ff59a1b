#!/usr/bin/env bats
# docs/recovery.md as printed: its sh blocks recover every key and certificate of a node that has lived through a
# CA-signed pair, an RSA key, a certificate request, a new sealing key and a rollback. What they give is compared, byte
# for byte, with what was live in each generation.

PAGE=$BATS_TEST_DIRNAME/../../docs/recovery.md
bats_require_minimum_version 1.5.0

rec_build() {
	local build=${LOCKSTEP_BUILD:-build/san}

	case $build in
	/*) echo "$build" ;;
	*) echo "$BATS_TEST_DIRNAME/../../$build" ;;
	esac
}

# The blocks of the sections whose headings begin with one of the arguments, in the page's order. No argument: all.
rec_blocks() {
	awk -v wanted="$(printf '%s\n' "$@")" '
		BEGIN { n = split(wanted, heads, "\n") }
		/^#/ && !block { take = wanted == ""; for (i = 1; i <= n; i++) if (heads[i] != "" && index($0, heads[i]) == 1) take = 1 }
		/^```sh$/ { block = 1; next }
		/^```/ { block = 0; next }
		block && take' "$PAGE"
}

# Runs the sections as one script, in a directory of their own, with nothing but stock tools on the way.
rec_run_page() {
	local root=$1 dir=$2

	shift 2
	mkdir -p "$dir"
	rec_blocks "$@" > "$dir/page.sh"
	[ -s "$dir/page.sh" ]
	(cd "$dir" && ROOT=$root OUT=recovered LOCKSTEP_ROOT=$root PATH=$REC_PATH:$PATH sh -eu page.sh)
}

rec_start() {
	"$(rec_build)/lockstepd" --root "$1" 2>> "$1/log" < /dev/null > /dev/null 3>&- &
	echo $! > "$1/pid"
	for _ in $(seq 100); do
		[ -S "$1/run/lockstep/control.sock" ] && return 0
		sleep 0.1
	done
	cat "$1/log"
	return 1
}

rec_stop() {
	[ -f "$1/pid" ] || return 0
	kill "$(cat "$1/pid")" 2> /dev/null || true
	for _ in $(seq 100); do
		kill -0 "$(cat "$1/pid")" 2> /dev/null || break
		sleep 0.1
	done
	rm -f "$1/pid"
}

rec_lockstep() {
	local root=$1

	shift
	"$(rec_build)/lockstep" --root "$root" "$@"
}

rec_generation() {
	rec_lockstep "$1" history -n 1 -o json | jq -r '.generations[0].generation'
}

# What is live, kept under the number of its generation.
rec_keep() {
	cp -RL "$1/etc/lockstep/certs/..data" "$BATS_FILE_TMPDIR/live-$(rec_generation "$1")"
}

# A root, an intermediate that signs, and its leaf for a request or for a new key.
rec_make_ca() {
	cd "$BATS_FILE_TMPDIR/ca"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout root.key -out root.pem -days 30 \
		-subj "/O=Example/CN=Example Root" -addext keyUsage=critical,keyCertSign
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout sub.key -out sub.csr \
		-subj "/O=Example/CN=Example Issuing CA"
	printf '%s\n' basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign > sub.ext
	openssl x509 -req -in sub.csr -CA root.pem -CAkey root.key -days 20 -extfile sub.ext -out sub.pem
	printf '%s\n' keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth \
		"subjectAltName=DNS:prod.example.com,DNS:*.prod.example.com,DNS:internal.prod.example.com,DNS:*.internal.prod.example.com" \
		> leaf.ext
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout leaf.key -out leaf.csr -subj "/CN=prod.example.com"
	rec_sign leaf
	cd - > /dev/null
}

rec_sign() {
	openssl x509 -req -in "$1.csr" -CA sub.pem -CAkey sub.key -days 10 -extfile leaf.ext -out "$1.pem"
	cat "$1.pem" sub.pem root.pem > "$1-full.pem"
}

setup_file() {
	export REC_ROOT=$BATS_FILE_TMPDIR/node REC_PATH=$BATS_FILE_TMPDIR/bin
	local ca=$BATS_FILE_TMPDIR/ca

	mkdir -p "$REC_ROOT/usr/share/lockstep" "$REC_ROOT/etc/lockstep/templates" "$ca" "$REC_PATH"
	ln -s "$(rec_build)/lockstep" "$REC_PATH/lockstep"
	cp -r "$BATS_TEST_DIRNAME/../../templates" "$BATS_TEST_DIRNAME/../../policies" "$REC_ROOT/usr/share/lockstep"
	sed 's/"ec:P-256"/"rsa:2048"/' "$REC_ROOT/usr/share/lockstep/templates/api.conf" \
		> "$REC_ROOT/etc/lockstep/templates/api.conf"
	rec_make_ca 2> /dev/null

	rec_lockstep "$REC_ROOT" init --cluster prod --fqdn prod.example.com --node n1
	rec_start "$REC_ROOT"
	rec_keep "$REC_ROOT"
	rec_lockstep "$REC_ROOT" cert set proxy --cert "$ca/leaf-full.pem" --key "$ca/leaf.key"
	rec_keep "$REC_ROOT"
	rec_lockstep "$REC_ROOT" cert csr cm --out "$ca/cm.csr"
	rec_keep "$REC_ROOT"
	rec_lockstep "$REC_ROOT" seal rotate
	rec_keep "$REC_ROOT"
	(cd "$ca" && rec_sign cm) 2> /dev/null
	rec_lockstep "$REC_ROOT" cert set cm --cert "$ca/cm-full.pem"
	rec_keep "$REC_ROOT"
	rec_lockstep "$REC_ROOT" cert renew api syncer --force
	rec_keep "$REC_ROOT"
	rec_lockstep "$REC_ROOT" cert csr metrics
	rec_keep "$REC_ROOT"
	rec_lockstep "$REC_ROOT" rollback 2
	rec_keep "$REC_ROOT"
}

teardown_file() {
	rec_stop "$REC_ROOT"
}

teardown() {
	local pid

	for pid in "$BATS_TEST_TMPDIR"/*/pid; do
		[ -f "$pid" ] && rec_stop "$(dirname "$pid")"
	done
	return 0
}

# Everything in OUT/N is what was live in generation N.
rec_compare() {
	local out=$1 n chain name

	for n in 1 2 3 4 5 6 7 8; do
		for name in api cm metrics_exporter proxy syncer; do
			chain=$out/$n/components/$name/chain.pem
			cmp "$chain" "$BATS_FILE_TMPDIR/live-$n/${name}_cert.pem"
			cmp "$out/$n/components/$name/key.pem" "$BATS_FILE_TMPDIR/live-$n/${name}_key.pem"
			cmp "$out/$n/trust/$name.pem" "$BATS_FILE_TMPDIR/live-$n/ca/$name.pem"
		done
	done
	[ ! -e "$out/9" ]
}

@test "the node has lived: RSA, a CA-signed chain, requests, two epochs, a rollback" {
	[ "$(rec_generation "$REC_ROOT")" = 8 ]
	openssl pkey -in "$BATS_FILE_TMPDIR/live-1/api_key.pem" -noout -text | grep -q 'Private-Key: (2048 bit'
	[ "$(grep -c BEGIN "$BATS_FILE_TMPDIR/live-2/proxy_cert.pem")" = 2 ]
	cmp "$BATS_FILE_TMPDIR/live-2/ca/proxy.pem" "$BATS_FILE_TMPDIR/ca/root.pem"
	run ! cmp -s "$BATS_FILE_TMPDIR/live-5/api_key.pem" "$BATS_FILE_TMPDIR/live-6/api_key.pem"
	cmp "$BATS_FILE_TMPDIR/live-8/api_key.pem" "$BATS_FILE_TMPDIR/live-2/api_key.pem"
	cmp "$BATS_FILE_TMPDIR/live-8/proxy.pem" "$REC_ROOT/etc/lockstep/certs/proxy.pem"
	[ -f "$REC_ROOT/var/lib/lockstep/identity/wrapping-2-key.pem" ]
}

@test "with the identity: every key and certificate of every generation, as it was live" {
	local dir=$BATS_TEST_TMPDIR/out

	run -0 rec_run_page "$REC_ROOT" "$dir" "## 1." "### 2a." "## 3." "## 4." "## 5."
	rec_compare "$dir/recovered"
	[ "$(grep -c '^ok ' <<< "$output")" = 40 ]
	run ! grep -q 'NOT ok' <<< "$output"
	[ "$(wc -l < "$dir/recovered/keks")" = 2 ]
	cmp "$dir/recovered/proxy.pem" "$REC_ROOT/etc/lockstep/certs/proxy.pem"
	cmp "$dir/recovered/proxy_cert.pem" "$REC_ROOT/etc/lockstep/certs/proxy_cert.pem"
	cmp "$dir/recovered/proxy_key.pem" "$REC_ROOT/etc/lockstep/certs/proxy_key.pem"
}

@test "with the identity: the keys of open requests and of the cluster's CA" {
	local dir=$BATS_TEST_TMPDIR/out n

	run -0 rec_run_page "$REC_ROOT" "$dir" "## 1." "### 2a." "## 3."
	for n in 3 4; do # before and after the new sealing key
		[ "$(openssl req -in "$BATS_FILE_TMPDIR/ca/cm.csr" -noout -pubkey)" = \
			"$(openssl pkey -in "$dir/recovered/$n/pending/cm/key.pem" -pubout)" ]
		cmp "$dir/recovered/$n/pending/cm/request.pem" "$BATS_FILE_TMPDIR/ca/cm.csr"
	done
	[ ! -e "$dir/recovered/5/pending/cm" ]
	[ -f "$dir/recovered/8/pending/metrics_exporter/key.pem" ]
	for n in 1 8; do
		[ "$(openssl x509 -in "$dir/recovered/$n/cluster/ca.pem" -noout -pubkey)" = \
			"$(openssl pkey -in "$dir/recovered/$n/cluster/ca-key.pem" -pubout)" ]
	done
	cmp "$dir/recovered/8/cluster/ca.pem" "$REC_ROOT/var/lib/lockstep/identity/ca.pem"
}

@test "with an escrow and history.git alone: the same" {
	local dir=$BATS_TEST_TMPDIR/out bare=$BATS_TEST_TMPDIR/bare

	run -0 rec_run_page "$REC_ROOT" "$dir" "## Before that day"
	grep -q 'BEGIN CMS' "$dir/escrow.cms"
	mkdir -p "$bare/var/lib/lockstep"
	cp -R "$REC_ROOT/var/lib/lockstep/history.git" "$bare/var/lib/lockstep"
	run -0 rec_run_page "$bare" "$dir" "## 1." "### 2b." "## 3." "## 4."
	rec_compare "$dir/recovered"
	[ "$(grep -c '^ok ' <<< "$output")" = 40 ]
}

@test "an escrow to an EC certificate opens as well" {
	local dir=$BATS_TEST_TMPDIR/out

	mkdir -p "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -noenc -days 30 -subj "/CN=escrow" \
		-keyout "$dir/escrow-key.pem" -out "$dir/escrow-cert.pem" 2> /dev/null
	rec_lockstep "$REC_ROOT" seal export --to "$dir/escrow-cert.pem" > "$dir/escrow.cms"
	run -0 rec_run_page "$REC_ROOT" "$dir" "## 1." "### 2b." "## 3."
	rec_compare "$dir/recovered"
}

@test "without the daemon the export gives the same keys" {
	local dir=$BATS_TEST_TMPDIR/out copy=$BATS_TEST_TMPDIR/copy

	cp -a "$REC_ROOT" "$copy"
	rm -rf "$copy/run" "$copy/pid"
	run -0 rec_run_page "$copy" "$dir" "## Before that day" "## 1." "### 2b." "## 3."
	rec_compare "$dir/recovered"
}

@test "after seal forget the old generations give certificates only, the new ones all" {
	local dir=$BATS_TEST_TMPDIR/out copy=$BATS_TEST_TMPDIR/copy

	cp -a "$REC_ROOT" "$copy"
	rm -rf "$copy/run" "$copy/pid"
	rec_start "$copy"
	rec_lockstep "$copy" seal forget 1
	rec_stop "$copy"
	run -0 rec_run_page "$copy" "$dir" "## 1." "### 2a." "## 3." "## 4."
	grep -q 'generation 3: no key of epoch 1, certificates only' <<< "$output"
	[ "$(wc -l < "$dir/recovered/keks")" = 1 ]
	[ ! -e "$dir/recovered/3/components/proxy/key.pem" ]
	cmp "$dir/recovered/3/components/proxy/chain.pem" "$BATS_FILE_TMPDIR/live-3/proxy_cert.pem"
	cmp "$dir/recovered/4/components/proxy/key.pem" "$BATS_FILE_TMPDIR/live-4/proxy_key.pem"
	cmp "$dir/recovered/9/components/proxy/key.pem" "$copy/etc/lockstep/certs/proxy_key.pem"
}

@test "a sealed key that was tampered with does not open" {
	local dir=$BATS_TEST_TMPDIR/out cms

	run -0 rec_run_page "$REC_ROOT" "$dir" "## 1." "### 2a."
	cd "$dir"
	git --git-dir=recovered/lib/history.git show main:components/proxy/key.cms |
		openssl cms -cmsout -inform PEM -outform DER -out key.der
	cms=$(stat -c %s key.der)
	for at in $((cms - 3)) $((cms - 40)); do # in the tag, in the text
		cp key.der bad.der
		printf '%b' "\\x$(printf %02x $((0x$(od -An -tx1 -j $at -N1 key.der | tr -d ' ') ^ 1)))" |
			dd of=bad.der bs=1 seek=$at conv=notrunc status=none
		run ! cmp -s key.der bad.der
		run -4 openssl cms -decrypt -inform DER -in bad.der -out opened.pem \
			-secretkey "$(sed -n 's/^2 //p' recovered/keks)" -secretkeyid 00000002
		# What openssl says is the judge: some releases write the text before they check its tag.
		[[ $output == *rror* ]]
	done
}

@test "the signatures are good for stock git" {
	local dir=$BATS_TEST_TMPDIR/out

	run -0 rec_run_page "$REC_ROOT" "$dir" "## 1." "## 6."
	[ "$(grep -c 'Good signature from "/OU=n1/O=prod"' <<< "$output")" = 8 ]
}

@test "afterwards nothing is left" {
	local dir=$BATS_TEST_TMPDIR/out

	run -0 rec_run_page "$REC_ROOT" "$dir" "## 1." "### 2a." "## 7."
	[ ! -e "$dir/recovered" ]
	[ -f "$REC_ROOT/var/lib/lockstep/identity/signing-key.pem" ]
}

@test "a restored /var/lib/lockstep is a whole node" {
	local new=$BATS_TEST_TMPDIR/new file

	mkdir -p "$new/var/lib" "$new/usr/share" "$new/etc/lockstep/incoming"
	cp -a "$REC_ROOT/var/lib/lockstep" "$new/var/lib"
	cp -a "$REC_ROOT/usr/share/lockstep" "$new/usr/share"
	rec_start "$new"
	rec_lockstep "$new" status
	for file in api cm metrics_exporter proxy syncer; do
		cmp "$new/etc/lockstep/certs/$file.pem" "$BATS_FILE_TMPDIR/live-8/$file.pem"
	done
}

@test "no block of the page is left out above" {
	[ "$(rec_blocks "## Before" "## 1." "### 2a." "### 2b." "## 3." "## 4." "## 5." "## 6." "## 7.")" = "$(rec_blocks)" ]
}
