# The daemon: its start and end, its configuration, one change at a time, and its death at any
# moment.
load lib

setup_file() {
	load lib
	authority "$BATS_FILE_TMPDIR/ca"
	pair "$BATS_FILE_TMPDIR/a" "$BATS_FILE_TMPDIR/ca"
}

D() { echo "$BATS_FILE_TMPDIR/$1"; }
set_a() { lockstep cert set "$1" --cert "$(D a-cert.pem)" --key "$(D a-key.pem)" "${@:2}"; }
renew() { lockstep --quiet cert renew "$1" --force; }

# A hook that says that it runs, and goes on when it is let.
waiting_hook() {
	script "$T/hook" <<-END
		: >$T/in-hook
		until [ -e $T/go ] || [ ! -e $T ]; do sleep 0.02; done
	END
}
in_hook() { wait_for '[ -e "$T/in-hook" ]' $DEADLINE; }
# Starts a change of proxy in the background; its exit code is in $T/change.code.
begin() {
	rm -f "$T/go" "$T/in-hook" "$T/change.code"
	start change bash -c '"$0" --root "$1" --quiet cert renew proxy --force; echo $? >"$2"' \
		"$E2E_BUILD/lockstep" "$R" "$T/change.code"
}
ended() { wait_for '[ -s "$T/change.code" ]' $DEADLINE && cat "$T/change.code"; }

@test "the daemon starts before init, and notices it" {
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
	wait_for 'log_has "not initialised"' $DEADLINE
	run -1 --separate-stderr lockstep status
	[[ $stderr == lockstep:*hint:*init* ]]
	run -4 lockstep cert renew
	init --quiet
	wait_for healthy 10
	renew proxy
	is_generation 2
}

@test "SIGTERM and SIGINT end it cleanly within 5 s, also in the middle of a hook" {
	local began

	init --quiet
	waiting_hook
	template proxy "validate = [ \"$T/hook\" ];"
	start_daemon
	kill -INT "$(pid_of lockstepd)"
	wait_for "gone $(pid_of lockstepd)" 5
	start_daemon
	began=$EPOCHSECONDS
	kill -TERM "$(pid_of lockstepd)"
	wait_for "gone $(pid_of lockstepd)" 5
	[ ! -e "$R/run/lockstep/control.sock" ]
	start_daemon
	begin
	in_hook
	began=$EPOCHREALTIME
	kill -TERM "$(pid_of lockstepd)"
	wait_for "gone $(pid_of lockstepd)" 6
	echo "from $began to $EPOCHREALTIME"
	((${EPOCHREALTIME/[.,]/} - ${began/[.,]/} < 5500000))
	[ "$(ended)" = 4 ] # the outcome is unknown to the caller
	all_pairs_match
	: >"$T/go"
	start_daemon
	all_pairs_match
	lockstep history verify
}

@test "SIGHUP with a bad configuration or template keeps the old one" {
	mkdir -p "${CONF%/*}"
	echo 'intake = { settle_ms = 100; patience_s = 1; };' >"$CONF"
	node_up
	echo 'intake = { settle_ms = 100; patience_s = 3600; nonsense = 1; };' >"$CONF"
	kill -HUP "$(pid_of lockstepd)"
	wait_for 'log_has "old configuration stays in force.*lockstep.conf:1.*nonsense"' $DEADLINE
	healthy
	cp "$(D a-key.pem)" "$INCOMING/proxy_key.pem"
	wait_for 'compgen -G "$REJECTED/*-proxy/reason.txt"' 5 # patience is still a second
	echo 'intake = { settle_ms = 50; };' >"$CONF"
	template shard "nonsense = 1;"
	kill -HUP "$(pid_of lockstepd)"
	wait_for 'log_has "old configuration stays in force.*shard.conf:7.*nonsense"' $DEADLINE
	rm "$TEMPLATES/shard.conf"
	kill -HUP "$(pid_of lockstepd)"
	wait_for 'log_has "templates reread"' $DEADLINE
	renew proxy
	healthy
}

@test "a bad configuration at the start is refused, with its line" {
	init --quiet
	echo 'reconcile_s = 4000000000;' >"$CONF"
	run -3 "$E2E_BUILD/lockstepd" --root "$R"
	[[ $output == "lockstepd: "*lockstep.conf:1* ]]
	printf '\n@include "/etc/passwd"\n' >"$CONF"
	run -3 "$E2E_BUILD/lockstepd" --root "$R"
	[[ $output == *lockstep.conf:2* ]]
}

@test "a second daemon refuses, and the first goes on" {
	node_up
	run -5 "$E2E_BUILD/lockstepd" --root "$R"
	[[ $output == *"another lockstepd"* ]]
	renew proxy
	healthy
	[ "$(cat "$R/run/lockstep/lockstepd.pid")" = "$(pid_of lockstepd)" ]
}

@test "what is looked at needs no daemon; status tells well from not well" {
	run -1 --separate-stderr lockstep status
	[[ $stderr == lockstep:* ]]
	node_up
	renew proxy
	run -0 lockstep status
	stop lockstepd
	run -1 lockstep status
	[[ $output == *lockstepd* ]]
	[ "$(json status | jq -c '[.healthy, .nodes[0].alive, .generation]')" = '[false,false,2]' ]
	[ "$(json cert list | jq '.certificates | length')" = 5 ]
	run -0 lockstep cert show proxy
	run -0 lockstep history
	run -0 lockstep history show 2
	run -0 lockstep history verify
	run -3 lockstep history show 9
	run -3 lockstep cert show nosuch
	start_daemon
	run -3 lockstep cert show nosuch
	run -3 lockstep history show 9
	run -3 lockstep rollback 9
	# An endpoint that shows nothing is not well.
	template proxy "serve = ( { endpoint = \"127.0.0.1:$(free_port)\"; } );"
	adopt
	run -1 lockstep status
	[[ $output == *down* ]]
	[ "$(json status | jq -c .healthy)" = false ]
}

@test "while one change runs another gets exit 5, and changes nothing" {
	init --quiet
	waiting_hook
	template proxy "validate = [ \"$T/hook\" ];"
	start_daemon
	begin
	in_hook
	run -5 --separate-stderr set_a api
	[[ $stderr == lockstep:*hint:* ]]
	run -5 --separate-stderr json cert renew api --force
	[ "$(jq -r .error.code <<<"$output")" = conflict ]
	run -1 json status # a rotation runs
	[ "$(jq -c '.rotation | [.generation, .phase, .participants]' <<<"$output")" = '[2,"voting",["n1"]]' ]
	jq -e '.rotation.since | fromdate > 0' <<<"$output"
	run -0 lockstep cert list
	# A drop-in that meets it stays queued.
	cp "$(D a-key.pem)" "$INCOMING/cm_key.pem"
	cp "$(D a-cert.pem)" "$INCOMING/cm_cert.pem"
	: >"$T/go"
	[ "$(ended)" = 0 ]
	wait_for 'live_is cm "$(D a-cert.pem)"' $DEADLINE
	wait_for 'is_generation 3' $DEADLINE
	wait_for healthy $DEADLINE
	[ "$(json history | jq -r '.generations | map(.components | join("+")) | join(" ")')" = "cm proxy api+cm+metrics_exporter+proxy+syncer" ]
	[ -z "$(ls -A "$REJECTED")" ]
}

@test "a hook that asks for a change gets exit 5, not a deadlock" {
	init --quiet
	script "$T/hook" <<-END
		$E2E_BUILD/lockstep --root $R cert renew api --force >$T/hook.out 2>&1
		echo "\$LOCKSTEP_EVENT \$?" >>$T/hook.codes
		$E2E_BUILD/lockstep --root $R cert list >/dev/null || echo "\$LOCKSTEP_EVENT list \$?" >>$T/hook.codes
	END
	template proxy "validate = [ \"$T/hook\" ]; reload = ( { exec = [ \"$T/hook\" ]; } );"
	start_daemon
	run -0 lockstep --timeout 60 cert renew proxy --force
	[ "$(cat "$T/hook.codes")" = $'validate 5\nreload 5' ]
	is_generation 2
	healthy
}

@test "--timeout ends the waiting, not the change" {
	init --quiet
	waiting_hook
	template proxy "reload = ( { exec = [ \"$T/hook\" ]; } );"
	start_daemon
	run -4 lockstep --timeout 1 cert renew proxy --force
	: >"$T/go"
	wait_for 'is_generation 2' $DEADLINE
	wait_for healthy $DEADLINE
}

@test "killed while a hook runs, before the decision or after it: whole or absent" {
	local event wanted g=1

	init --quiet
	waiting_hook
	for event in "validate = [ \"$T/hook\" ];" "reload = ( { exec = [ \"$T/hook\" ]; } );"; do
		template proxy "$event"
		start_daemon
		begin
		in_hook
		kill_hard lockstepd
		[ "$(ended)" = 4 ]
		all_pairs_match
		lockstep history verify
		: >"$T/go"
		start_daemon
		wanted=$(json status | jq -r '.components[] | select(.name == "proxy").desired')
		[ "$(fingerprint "$CERTS/proxy_cert.pem")" = "$wanted" ]
		all_pairs_match
		lockstep history verify
		[ "$(generation)" -ge "$g" ]
		[ "$(generation)" -le $((g + 1)) ]
		g=$(generation)
		renew proxy
		g=$((g + 1))
		is_generation $g
		stop lockstepd
	done
}

# Kills the daemon before the nth call of a kind after a change was asked for.
@test "killed at any point of a rotation: whole or absent, and the next start mends the rest" {
	local call n g pid points=0

	node_up
	for call in mkdirat renameat,rename symlinkat fsync unlinkat,unlink; do
		for n in 1 5; do
			g=$(generation)
			pid=$(pid_of lockstepd)
			start strace strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:signal=KILL:when=$n" -p "$pid"
			wait_for "grep -q 'TracerPid:.[1-9]' /proc/$pid/status" $DEADLINE
			begin
			ended
			# What tidies up after the answer may be what is struck, and a process takes a while to go.
			if wait_for "gone $pid" 2; then
				points=$((points + 1))
				wait_for "gone $(pid_of strace)" $DEADLINE
				all_pairs_match || { echo "after $call $n"; return 1; }
				start_daemon || { echo "after $call $n"; return 1; }
			else
				kill_hard strace
			fi
			all_pairs_match || { echo "after $call $n"; return 1; }
			lockstep --quiet history verify || { echo "after $call $n"; return 1; }
			[ "$(generation)" -ge "$g" ] && [ "$(generation)" -le $((g + 1)) ]
		done
	done
	echo "points: $points"
	[ "$points" -ge 6 ]
	renew proxy
	[ -z "$(find "$R/var/lib/lockstep/history.git" -name '*.lock' -o -name 'tmp_*')" ]
}

@test "an idle daemon makes no system call" {
	node_up
	start strace strace -f -o "$T/calls" -p "$(pid_of lockstepd)"
	wait_for "grep -q 'TracerPid:.[1-9]' /proc/$(pid_of lockstepd)/status" $DEADLINE
	wait_for 'false' 3 || true # what is tested is that nothing happens
	kill_hard strace
	cat "$T/calls"
	# Attaching itself interrupts each thread's waiting call, and the loop sets its timer again.
	[ "$(grep -vcE 'resumed|unfinished|restart_syscall|detached|epoll_wait|futex' "$T/calls")" -le 1 ]
	[ "$(wc -l <"$T/calls")" -lt 20 ]
}

@test "a replaced incoming/ is watched again" {
	mkdir -p "${CONF%/*}"
	echo 'intake = { settle_ms = 100; }; reconcile_s = 2;' >"$CONF"
	node_up
	mv "$INCOMING" "$T/old"
	mkdir -m 700 "$INCOMING"
	cp "$(D a-key.pem)" "$INCOMING/cm_key.pem"
	cp "$(D a-cert.pem)" "$INCOMING/cm_cert.pem"
	wait_for 'live_is cm "$(D a-cert.pem)"' 8
	wait_for healthy $DEADLINE
}

@test "a long path of the root, and a relative one" {
	local deep

	deep=$T/$(printf 'd%.0s' {1..100})/$(printf 'e%.0s' {1..60})
	mkdir -p "$deep"
	R=$deep/root
	ships "$R"
	CERTS=$R/etc/lockstep/certs
	cd "$deep"
	"$E2E_BUILD/lockstep" --root root init --cluster prod --quiet
	start lockstepd "$E2E_BUILD/lockstepd" --root root
	wait_for healthy $DEADLINE
	"$E2E_BUILD/lockstep" --root root cert renew proxy --force
	all_pairs_match
}
