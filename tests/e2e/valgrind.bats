#!/usr/bin/env bats
# The main path under valgrind, with the program as it is shipped: no invalid access, nothing uninitialised, nothing lost.

setup() {
	bin=${LOCKSTEP_RELEASE:-build/release}
	root=$BATS_TEST_TMPDIR/n1
	mkdir -p "$root/usr/share/lockstep"
	cp -r templates policies "$root/usr/share/lockstep/"
	# No socket of its own, which it could not remove from inside the daemon's sandbox.
	grind=(valgrind --vgdb=no --quiet --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=99
		--log-file="$BATS_TEST_TMPDIR/valgrind.%p")
	daemon=
}

teardown() {
	[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null || true
	findings | head -n 60
}

# Valgrind 3.19 does not know landlock_create_ruleset (444), seccomp (317) and mlock2 (325, OpenSSL's secure heap, which
# then takes mlock), and says so. The daemon closes what it can: everything but Landlock.
findings() {
	cat "$BATS_TEST_TMPDIR"/valgrind.* 2>/dev/null |
		sed '/unhandled amd64-linux syscall: \(444\|317\|325\)$/,/valgrind.org\/support\/bug_reports.html/d'
}

until_true() { # until_true SECONDS COMMAND…
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

@test "init, a change, a drop-in, a rollback, a new sealing key and the end, without a finding" {
	"${grind[@]}" "$bin/lockstep" --root "$root" init --cluster prod --fqdn prod.example.com --node n1
	"${grind[@]}" "$bin/lockstepd" --root "$root" 3>&- &
	daemon=$!
	until_true 60 "$bin/lockstep" --root "$root" status --quiet
	"${grind[@]}" "$bin/lockstep" --root "$root" cert renew proxy --force
	cd "$BATS_TEST_TMPDIR"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out c.pem -days 30 \
		-subj /CN=prod.example.com -addext basicConstraints=critical,CA:FALSE \
		-addext 'subjectAltName=DNS:prod.example.com' -addext extendedKeyUsage=serverAuth,clientAuth
	cd "$OLDPWD"
	cp "$BATS_TEST_TMPDIR/k.pem" "$root/etc/lockstep/incoming/api_key.pem"
	cp "$BATS_TEST_TMPDIR/c.pem" "$root/etc/lockstep/incoming/api_cert.pem"
	served() { cmp -s "$BATS_TEST_TMPDIR/c.pem" "$root/etc/lockstep/certs/api_cert.pem"; }
	until_true 60 served
	echo broken >"$root/etc/lockstep/certs/cm_cert.pem"
	healed() { [ -L "$root/etc/lockstep/certs/cm_cert.pem" ]; }
	until_true 60 healed
	# The drop-in's rotation may still be closing.
	until_true 60 "$bin/lockstep" --root "$root" status --quiet
	"$bin/lockstep" --root "$root" --timeout 100 rollback 1
	"$bin/lockstep" --root "$root" --timeout 100 seal rotate
	"$bin/lockstep" --root "$root" --timeout 100 cert csr cm >/dev/null
	run "$bin/lockstep" --root "$root" cert set proxy --cert /etc/hostname
	[ "$status" = 3 ]
	"${grind[@]}" "$bin/lockstep" --root "$root" history verify
	kill -TERM "$daemon"
	code=0
	wait "$daemon" || code=$?
	daemon=
	[ "$code" = 0 ]
	[ -z "$(findings)" ]
}
