#!/usr/bin/env bats
# Where keys are, and where not: in the memory of the running daemon, on disk, in logs. With the release build: a sanitizer
# keeps what was freed.

load lib

setup_file() {
	export LOCKSTEP_BUILD=${LOCKSTEP_RELEASE:-build/release}
}

hunt() { python3 "$E2E_SOURCE/tests/e2e/hunt.py" "$@"; }
learn() { hunt learn "$NEEDLES" "$@"; }

# What the command line says is looked through as well.
say() { lockstep "$@" >>"$T/said" 2>&1; }

# The live keys of now are looked for from now on.
learn_live() {
	local file name new=()

	mkdir -p "$T/live"
	for file in "$CERTS"/*_key.pem; do
		name=$(sha256sum "$file" | cut -c1-12)-${file##*/}
		[ ! -f "$T/live/$name" ] || continue
		cp "$file" "$T/live/$name"
		new+=("$T/live/$name")
	done
	[ ${#new[@]} = 0 ] || learn "${new[@]}"
}

# The KEK of each epoch, by the documented way, and what only they open: the key of an open request, the cluster CA's.
learn_sealed() {
	local epoch kek cms

	lockstep seal export --to "$T/escrow-cert.pem" >"$T/escrow.cms"
	openssl cms -decrypt -inform PEM -in "$T/escrow.cms" -inkey "$T/escrow-key.pem" -out "$T/keks"
	while read -r epoch kek; do
		hunt learn-word "$NEEDLES" "kek-$epoch" "hex:$kek"
	done <"$T/keks"
	read -r epoch kek < <(tail -n 1 "$T/keks")
	for cms in cluster/ca-key.cms pending/proxy/key.cms; do
		git --git-dir="$R/var/lib/lockstep/history.git" show "main:$cms" >"$T/sealed" 2>/dev/null || continue
		openssl cms -decrypt -inform PEM -in "$T/sealed" -secretkey "$kek" \
			-secretkeyid "$(printf %08x "$epoch")" -out "$T/opened-$(basename "${cms%/*}").pem"
		learn "$T/opened-$(basename "${cms%/*}").pem"
	done
}

# Nothing at rest but the KEKs and the node's signing key, and these only in pages that are locked and left out of core
# dumps. What a timer compares at this moment is gone at the next look.
clean() { # WHEN
	local found others

	for _ in 1 2 3; do
		found=$(hunt memory "$NEEDLES" "$(pid_of lockstepd)")
		others=$(grep -vE '^(own-signing-key.pem:priv|kek-[0-9]*) [^ ]* locked ' <<<"$found" || true)
		[ -n "$others" ] || break
		sleep 0.5
	done
	# If these were not found, the hunt would be blind.
	grep -q '^own-signing-key.pem:priv [^ ]* locked ' <<<"$found"
	[ "$1" = start ] || grep -q '^kek-1 [^ ]* locked ' <<<"$found"
	[ -z "$others" ] || { echo "after $1:"; cut -d' ' -f1-5 <<<"$others" | sort | uniq -c; return 1; }
}

# Everything below the root, objects of the history unpacked, and everything that was said.
clean_disk() {
	local found

	git --git-dir="$R/var/lib/lockstep/history.git" cat-file --batch --batch-all-objects >"$T/objects"
	found=$(hunt files "$NEEDLES" "$R" "$T/objects" "$T/lockstepd.log" "$T/said" "$T/hook" "$T/executed")
	# The places of keys: the live files, which nobody else may read, and the identity.
	grep -q "^own-signing-key.pem:priv .* $R/var/lib/lockstep/identity/signing-key.pem " <<<"$found"
	[ "$(find "$CERTS"/..gen-*/ -name '*_key.pem' -perm /007)" = "" ]
	found=$(grep -vE "^(own|wrapping)-.* $R/var/lib/lockstep/identity/[a-z0-9-]*-key.pem |^[^k].* $CERTS/\.\.gen-[^/]*/[a-z_]*\.pem " <<<"$found" || true)
	[ -z "$found" ] || { cut -d' ' -f1-3 <<<"$found" | sort | uniq -c; return 1; }
}

@test "the hunt itself finds fifteen bytes of every form" {
	NEEDLES=$T/needles
	new_key ec "$T/ec.pem"
	new_key rsa:2048 "$T/rsa.pem"
	new_key ed25519 "$T/ed.pem"
	openssl pkey -in "$T/rsa.pem" -traditional -out "$T/traditional.pem"
	learn "$T/ec.pem" "$T/rsa.pem" "$T/ed.pem" "$T/traditional.pem"
	hunt learn-word "$NEEDLES" passphrase "correct horse battery staple"
	forms=$(hunt plant "$NEEDLES" "$T/planted")
	[ "$forms" -gt 150 ]
	[ "$(hunt files "$NEEDLES" "$T/planted" | wc -l)" = "$forms" ]
	# The numbers are the whole key: with them openssl makes it again.
	[ "$(hunt files "$NEEDLES" "$T/rsa.pem" | wc -l)" -ge 6 ]
	openssl rand -out "$T/other" 1000000
	[ -z "$(hunt files "$NEEDLES" "$T/other")" ]
}

@test "after each kind of change there is no key in memory, on disk or in logs but where it must be" {
	NEEDLES=$T/needles
	authority "$T/ca"
	openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=escrow -keyout "$T/escrow-key.pem" \
		-out "$T/escrow-cert.pem" 2>/dev/null
	script "$T/hook.sh" <<-END
		{ env; tr '\\0' ' ' <"/proc/\$PPID/cmdline"; tr '\\0' ' ' <"/proc/\$PPID/environ"; } >>"$T/hook"
	END
	template proxy "validate = [ \"$T/hook.sh\" ]; reload = ( { exec = [ \"$T/hook.sh\" ]; } );"
	KEY_SPEC=rsa:2048 template api
	KEY_SPEC=ed25519 template cm
	mkdir -p "${CONF%/*}"
	echo 'log = { level = "debug"; }; intake = { settle_ms = 100; patience_s = 1; }; reconcile_s = 3600;' >"$CONF"
	KEY_SPEC=rsa:2048 template edge
	init >>"$T/said" 2>&1
	haproxy_up edge
	KEY_SPEC=rsa:2048 template edge "reload = ( { haproxy_socket = \"$HAPROXY_SOCKET\"; } );"
	start_daemon
	cp "$R/var/lib/lockstep/identity/signing-key.pem" "$T/own-signing-key.pem"
	learn "$T/own-signing-key.pem" "$R"/var/lib/lockstep/identity/wrapping-1-key.pem
	learn_live
	clean start
	learn_sealed
	clean "seal export"

	pair "$T/p8" "$T/ca"
	pair "$T/rsa" "$T/ca" key=rsa:2048
	pair "$T/ed" "$T/ca" key=ed25519
	openssl pkey -in "$T/rsa-key.pem" -traditional -out "$T/rsa-trad.pem"
	pair "$T/enc" "$T/ca" key=rsa:2048
	echo "correct horse battery staple" >"$T/passphrase"
	openssl pkey -in "$T/enc-key.pem" -aes256 -passout "file:$T/passphrase" -out "$T/enc-aes.pem"
	openssl ec -in "$T/p8-key.pem" -aes128 -passout "file:$T/passphrase" -out "$T/p8-old.pem" 2>/dev/null
	learn "$T/p8-key.pem" "$T/rsa-trad.pem" "$T/ed-key.pem" "$T/enc-key.pem"
	hunt learn-word "$NEEDLES" passphrase "$(cat "$T/passphrase")"
	say cert set proxy --cert "$T/p8-cert.pem" --key "$T/p8-key.pem"
	clean "PKCS#8"
	say cert set api --cert "$T/rsa-cert.pem" --key "$T/rsa-trad.pem"
	say cert set edge --cert "$T/rsa-cert.pem" --key "$T/rsa-trad.pem"
	say cert set cm --cert "$T/ed-cert.pem" --key "$T/ed-key.pem"
	learn_live
	clean "traditional, Ed25519, haproxy's socket"
	say cert set proxy --cert "$T/enc-cert.pem" --key "$T/enc-aes.pem" --passphrase-file "$T/passphrase"
	say cert set proxy --cert "$T/p8-cert.pem" --key "$T/p8-old.pem" --passphrase-file "$T/passphrase"
	learn_live
	clean "encrypted keys"
	mkdir "$T/set"
	for name in api cm edge proxy; do # one large request
		pair "$T/set-$name" "$T/ca" key=rsa:2048
		learn "$T/set-$name-key.pem"
		cp "$T/set-$name-key.pem" "$T/set/${name}_key.pem"
		cat "$T/set-$name-cert.pem" "$T/ca-cert.pem" >"$T/set/${name}_cert.pem"
	done
	say cert set --from "$T/set" --dry-run
	clean "a dry run of several"
	say cert set --from "$T/set"
	learn_live
	clean "several at once"

	pair "$T/drop" "$T/ca"
	pair "$T/over" "$T/ca" key=rsa:2048
	pair "$T/both" "$T/ca"
	cat "$T/both-key.pem" "$T/both-cert.pem" >"$T/both.pem"
	learn "$T/drop-key.pem" "$T/over-key.pem" "$T/both-key.pem"
	g=$(generation)
	cp "$T/drop-key.pem" "$INCOMING/proxy_key.pem"
	cp "$T/drop-cert.pem" "$INCOMING/proxy_cert.pem"
	wait_for "is_generation $((g + 1))" $DEADLINE
	clean "drop-in"
	cp "$T/both.pem" "$INCOMING/proxy.pem"
	wait_for "is_generation $((g + 2))" $DEADLINE
	cat "$T/over-key.pem" "$T/over-cert.pem" >"$T/over.pem"
	cp "$T/over.pem" "$CERTS/proxy.pem"
	wait_for "is_generation $((g + 3))" $DEADLINE
	learn_live
	clean "over a live file"

	say cert csr proxy --out "$T/proxy.csr"
	learn_sealed
	clean csr
	cp "$T/proxy.csr" "$T/open.csr"
	sign "$T/open.csr" "$T/open-cert.pem" "$T/ca" "$T/p8.ext" "$(when -1hour)" "$(when +60days)" sha256
	say cert set proxy --cert "$T/open-cert.pem"
	learn_live
	clean "the request's certificate"

	# The daemon and its helper, which runs the hooks and makes the RSA keys.
	strace -f -qq -e trace=execve -v -s 100000 -o "$T/executed" -p "$(pid_of lockstepd)" \
		-p "$(pgrep -P "$(pid_of lockstepd)")" 3>&- &
	wait_for "! grep -q 'TracerPid:[[:space:]]0' /proc/$(pid_of lockstepd)/status" $DEADLINE
	for _ in 1 2 3; do
		say status || true
		say cert list
	done &
	say cert renew --force --replace-installed
	wait $!
	kill -TERM "$(awk '/TracerPid/ { print $2 }' "/proc/$(pid_of lockstepd)/status")"
	wait_for "grep -q 'TracerPid:[[:space:]]0' /proc/$(pid_of lockstepd)/status" $DEADLINE
	grep -q -F "$T/hook.sh" "$T/executed"
	learn_live
	clean "renewal of generated keys, with status and list"
	say rollback 2
	learn_live
	clean rollback
	say seal rotate
	learn_sealed
	learn "$R"/var/lib/lockstep/identity/wrapping-2-key.pem
	clean "seal rotate"

	pair "$T/weak" "$T/ca" key=rsa:1024
	pair "$T/alone" "$T/ca"
	pair "$T/twice" "$T/ca"
	learn "$T/weak-key.pem" "$T/alone-key.pem" "$T/twice-key.pem"
	run say cert set proxy --cert "$T/p8-cert.pem" --key "$T/alone-key.pem"
	[ "$status" = 3 ]
	run say cert set proxy --cert "$T/weak-cert.pem" --key "$T/weak-key.pem"
	[ "$status" = 3 ]
	run say cert set proxy --cert "$T/twice-key.pem" --key "$T/twice-cert.pem"
	[ "$status" = 3 ]
	run say cert set proxy --cert "$T/enc-cert.pem" --key "$T/enc-aes.pem" --passphrase-file "$T/enc-key.pem"
	[ "$status" = 3 ]
	cp "$T/alone-key.pem" "$INCOMING/api_key.pem"
	sed 's/PRIVATE KEY/CERTIFICATE/' "$T/twice-key.pem" >"$INCOMING/cm_cert.pem"
	cat "$T/weak-key.pem" "$T/weak-cert.pem" >"$T/weak.pem"
	cp "$T/weak.pem" "$INCOMING/proxy.pem"
	wait_for "[ \$(find '$REJECTED' -name reason.txt | wc -l) -ge 3 ]" $DEADLINE
	clean refusals
	say cert set proxy --cert "$T/p8-cert.pem" --key "$T/p8-key.pem" --dry-run
	say seal forget 1
	say history verify
	clean "a dry run, forgetting an epoch, verifying"
	clean_disk
}

# A CLI that waits for its last file, with the key already read.
@test "the command line keeps a key in locked pages only, and out of arguments and environment" {
	NEEDLES=$T/needles
	node_up
	authority "$T/ca"
	pair "$T/p" "$T/ca" key=rsa:2048
	learn "$T/p-key.pem"
	mkfifo "$T/chain"
	start cli "$E2E_BUILD/lockstep" --root "$R" cert set proxy --cert "$T/p-cert.pem" --key "$T/p-key.pem" --chain "$T/chain"
	wait_for "hunt memory '$NEEDLES' $(pid_of cli) | grep -q ' locked '" $DEADLINE
	[ -z "$(hunt memory "$NEEDLES" "$(pid_of cli)" | grep -v ' locked ')" ]
	[ -z "$(hunt files "$NEEDLES" "/proc/$(pid_of cli)/cmdline" "/proc/$(pid_of cli)/environ")" ]
	no_core cli
	: >"$T/chain"
	wait_for "is_generation 2" $DEADLINE
}

no_core() { grep -qE '^Max core file size +0 +0 ' "/proc/$(pid_of "$1")/limits"; }

@test "no core dump: the limit is zero, and the process is not dumpable" {
	chmod 755 "$T" "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test"
	chown -R nobody "$R"
	as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	"${as_nobody[@]}" "$E2E_BUILD/lockstep" --root "$R" init --cluster prod --fqdn $FQDN --node n1
	start lockstepd "${as_nobody[@]}" "$E2E_BUILD/lockstepd" --root "$R"
	wait_for healthy $DEADLINE
	no_core lockstepd
	# The kernel gives the files of a process that may not be dumped to root.
	[ "$(stat -c %U "/proc/$(pid_of lockstepd)/environ")" = root ]
	[ "$(ps -o user= -p "$(pid_of lockstepd)")" = nobody ]
}

@test "memory that cannot be locked is a warning, once, with what to do" {
	weak=(prlimit --memlock=0 setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock)
	"${weak[@]}" "$E2E_BUILD/lockstep" --root "$R" init --cluster prod --fqdn $FQDN --node n1 2>"$T/init.err"
	grep -q 'warning: memory that holds keys cannot be locked' "$T/init.err"
	start lockstepd "${weak[@]}" "$E2E_BUILD/lockstepd" --root "$R"
	wait_for healthy $DEADLINE
	lockstep --quiet cert renew --force
	kill -HUP "$(pid_of lockstepd)"
	wait_for "log_has reread" $DEADLINE
	[ "$(grep -c 'cannot be locked.*LimitMEMLOCK' "$T/lockstepd.log")" = 1 ]
	restart_daemon
	[ "$(grep -c 'cannot be locked' "$T/lockstepd.log")" = 1 ]
}

@test "an identity that others can read keeps the daemon and the command line from opening the node" {
	identity=$R/var/lib/lockstep/identity
	init --quiet
	for bad in "755 $identity" "640 $identity/signing-key.pem" "604 $identity/wrapping-1-key.pem"; do
		chmod ${bad% *} "${bad#* }"
		good=$([ -d "${bad#* }" ] && echo 700 || echo 600)
		: >"$T/lockstepd.log"
		start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
		wait_for "log_has 'cannot be opened'" $DEADLINE
		log_has "'${bad#* }' can be read by others \(mode 0${bad% *}\)"
		log_has "if somebody may have read it, run 'lockstep seal rotate' and 'lockstep cert renew --force'"
		log_has "chmod $good ${bad#* }"
		[ ! -S "$R/run/lockstep/control.sock" ]
		for verb in status "cert list" "history verify" "init --cluster prod"; do
			run --separate-stderr lockstep $verb
			[ "$status" -ne 0 ]
			[[ $stderr == *"'${bad#* }' can be read by others"*"hint: chmod $good ${bad#* }"* ]]
		done
		chmod $good "${bad#* }"
		wait_for healthy $DEADLINE
		stop lockstepd
	done
	chown nobody "$identity/signing-key.pem"
	run lockstep history
	[ "$status" = 3 ]
	[[ $output == *"belongs to user"*"chown root $identity/signing-key.pem"* ]]
	chown root "$identity/signing-key.pem"
	# Later on, status says it.
	start_daemon
	chmod 644 "$identity/signing-key.pem"
	run lockstep status
	[ "$status" = 1 ]
	[[ $output == *"can be read by others"*"chmod 600 $identity/signing-key.pem"* ]]
}

@test "a live key that others could read is put back, and stays a problem until it is replaced" {
	node_up
	for file in "$CERTS/proxy_key.pem" "$CERTS/proxy.pem"; do # through the links
		: >"$T/lockstepd.log"
		chmod 644 "$file"
		wait_for "[ \$(stat -L -c %a '$file') = 640 ]" $DEADLINE
		wait_for "log_has 'error: others could read the live key of proxy .*mode 0644.*lockstep cert renew --force proxy'" $DEADLINE
		run lockstep status
		[ "$status" = 1 ]
		[[ $output == *"proxy: others could read its live key"*"lockstep cert renew --force proxy"* ]]
		[ "$(json status | jq '.healthy, (.problems | length)' | xargs)" = "false 1" ]
		lockstep --quiet cert renew --force proxy
		wait_for healthy $DEADLINE
	done
	# A certificate is for all to read, and a narrower mode is no alert.
	: >"$T/lockstepd.log"
	chmod 666 "$CERTS/proxy_cert.pem"
	chmod 600 "$CERTS/proxy_key.pem"
	wait_for "[ \$(stat -L -c %a '$CERTS/proxy_cert.pem') = 644 ] && [ \$(stat -L -c %a '$CERTS/proxy_key.pem') = 640 ]" $DEADLINE
	healthy
	! log_has 'could read'
	# Without a daemon it stays open, and status says what mends it.
	stop lockstepd
	chmod 644 "$CERTS/proxy_key.pem"
	run lockstep status
	[ "$status" = 1 ]
	[[ $output == *"proxy: others can read its live key (mode 0644): chmod o= $CERTS/..data/proxy_key.pem, then replace the key: lockstep cert renew --force proxy"* ]]
	start_daemon_unhealthy
	wait_for "log_has 'error: others could read the live key of proxy'" $DEADLINE
	authority "$T/ca"
	pair "$T/p" "$T/ca"
	lockstep --quiet cert set proxy --cert "$T/p-cert.pem" --key "$T/p-key.pem"
	wait_for healthy $DEADLINE
}

start_daemon_unhealthy() {
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
	wait_for "[ -S '$R/run/lockstep/control.sock' ]" $DEADLINE
}

@test "a template cannot open a key to others" {
	template proxy 'files = { key_mode = "0644"; };'
	run init
	[ "$status" = 3 ]
	[[ $output == *"'key_mode' is '0644', wanted at most \"0640\""* ]]
	rm "$TEMPLATES/proxy.conf"
	node_up
	template proxy 'files = { key_mode = "0604"; };'
	kill -HUP "$(pid_of lockstepd)"
	wait_for "log_has \"old configuration stays in force.*'key_mode' is '0604'\"" $DEADLINE
	[ -z "$(find "$CERTS"/..gen-*/ -name '*_key.pem' -perm /007)" ]
}
