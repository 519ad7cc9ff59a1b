# What went wrong once under attack: full and failing disks, damaged records, hooks that call back.

load lib

given_pair() { # DIR NAME
	authority "$T/ca"
	pair "$T/$2" "$T/ca"
	cp "$T/$2-cert.pem" "$1/$2_cert.pem"
	cp "$T/$2-key.pem" "$1/$2_key.pem"
}
set_pair() { lockstep cert set "$1" --cert "$T/$1-cert.pem" --key "$T/$1-key.pem"; }
history_git() { git -c safe.directory='*' --git-dir="$R/var/lib/lockstep/history.git" "$@"; }
no_remains() {
	[ -z "$(history_git fsck --unreachable)" ]
	[ ! -e "$R/var/lib/lockstep/history.git/refs/lockstep/next" ]
	! compgen -G "$R/var/lib/lockstep/store/*.pack"
	[ "$(ls -d "$CERTS"/..gen-* | wc -l)" = 1 ]
}
# Fails one system call of the running daemon while COMMAND runs.
with_fault() { # EXPRESSION COMMAND…
	local expression=$1 tracer rc=0

	shift
	strace -f -p "$(pid_of lockstepd)" -o "$T/trace" -e trace="${expression%%:*}" \
		-e inject="$expression" 2>"$T/strace" &
	tracer=$!
	wait_for "grep -q attached $T/strace" $DEADLINE
	"$@" || rc=$?
	kill $tracer
	wait $tracer || true
	return $rc
}

@test "a refused attempt leaves nothing in the history, the store or the live directory" {
	template proxy 'validate = [ "/bin/false" ];'
	node_up
	authority "$T/ca"
	pair "$T/proxy" "$T/ca"
	run -3 set_pair proxy
	wait_for no_remains $DEADLINE
	lockstep history verify
}

@test "a change whose begin could not be synced is not carried out later" {
	echo 'reconcile_s = 1;' >"$R/etc.conf"
	mkdir -p "$R/etc/lockstep"
	mv "$R/etc.conf" "$CONF"
	node_up
	authority "$T/ca"
	pair "$T/proxy" "$T/ca"
	run -1 with_fault fsync:error=EIO:when=4 set_pair proxy
	# Two more rounds of everything that the timer does, each of which ends with this line.
	for round in 1 2; do
		kill -HUP "$(pid_of lockstepd)"
		wait_for "[ \$(grep -c 'templates reread' $T/lockstepd.log) -ge $round ]" $DEADLINE
	done
	is_generation 1
	healthy
	no_remains
}

@test "an index whose pack could not be synced is not left as damage" {
	node_up
	authority "$T/ca"
	pair "$T/proxy" "$T/ca"
	for n in 5 6 7 8; do
		with_fault fsync:error=EIO:when=$n set_pair proxy || true
		lockstep history verify
	done
}

@test "a hook of a drop-in's rotation that asks for a change gets a conflict, not a deadlock" {
	script "$T/hook" <<-END
		timeout 10 "$E2E_BUILD/lockstep" --root "$R" cert renew cm --force
		echo \$? >"$T/hook.rc"
	END
	template proxy "reload = ( { exec = [ \"$T/hook\" ]; } );"
	node_up
	given_pair "$INCOMING" proxy
	wait_for "is_generation 2" $DEADLINE
	wait_for healthy $DEADLINE
	[ "$(cat "$T/hook.rc")" = 5 ]
	is_generation 2
}

@test "a damaged record does not cost the operator a key" {
	node_up
	cp "$R/var/lib/lockstep/store/record.json" "$T/record.json"
	echo '{' >"$R/var/lib/lockstep/store/record.json"
	given_pair "$INCOMING" proxy
	wait_for "log_has \"drop-in 'proxy' waits\"" $DEADLINE
	[ -f "$INCOMING/proxy_key.pem" ]
	[ -z "$(ls "$REJECTED")" ]
	cp "$T/record.json" "$R/var/lib/lockstep/store/record.json"
	wait_for "live_is proxy $T/proxy-cert.pem" $DEADLINE
	wait_for healthy $DEADLINE
	[ "$(grep -c waits "$T/lockstepd.log")" = 1 ]
}

@test "a drop-in that cannot be read waits, and status says so" {
	node_up
	mkdir "$T/in"
	given_pair "$T/in" cm
	strace -f -p "$(pid_of lockstepd)" -o /dev/null -P cm_key.pem -e trace=openat \
		-e inject=openat:error=EIO 2>"$T/strace" &
	tracer=$!
	wait_for "grep -q attached $T/strace" $DEADLINE
	cp "$T"/in/* "$INCOMING/"
	wait_for "lockstep status | grep 'problem: drop-in .cm. waits'" $DEADLINE
	kill $tracer
	wait $tracer || true
	wait_for "live_is cm $T/cm-cert.pem" $DEADLINE
	[ -z "$(ls "$REJECTED")" ]
}

@test "long names that begin alike are refused each, and no name forges a log line" {
	local name

	node_up
	name=$(printf 'x%.0s' {1..70})
	echo a >"$INCOMING/${name}1"
	echo b >"$INCOMING/${name}2"
	touch "$INCOMING/a"$'\n'"lockstepd: error: forged"
	wait_for "[ -z \"\$(ls $INCOMING)\" ]" $DEADLINE
	[ "$(ls "$REJECTED" | wc -l)" = 3 ]
	! log_has '^lockstepd: error: forged'
}

@test "verify and status beside continuous renewals see no damage" {
	local end=$((SECONDS + 6))

	node_up
	(while [ $SECONDS -lt $end ]; do lockstep --quiet cert renew cm --force; done) &
	renewals=$!
	while [ $SECONDS -lt $end ]; do
		lockstep --quiet history verify
		json status >"$T/status" || [ "$(jq .rotation "$T/status")" != null ]
	done
	wait $renewals
}

@test "history of an unknown component is refused" {
	node_up
	run -3 lockstep history nosuch
	run -3 lockstep cert show 'No/such'
	[[ $output == *No/such* ]]
}

@test "a record that is gone is not an invitation to init" {
	init --quiet
	rm "$R/var/lib/lockstep/store/record.json"
	run -1 lockstep status
	[[ $output == *record.json*"lockstep doctor"* ]]
}
