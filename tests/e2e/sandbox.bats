# The daemon's own sandbox: what somebody who has taken over one of its threads can do from there, with the program as it
# is shipped, and what its helper does for the daemon outside of it.
load lib

release() { # from here on the program as it is shipped
	E2E_BUILD=$(cd "$E2E_SOURCE" && cd "${LOCKSTEP_RELEASE:-build/release}" && pwd)
}
helper_of() { pgrep -P "$(pid_of lockstepd)"; }
status_of() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(pid_of "${2:-lockstepd}")/status"; }
intruder() { "$E2E_SOURCE/build/san/tests/intruder" "$@"; }

outside() {
	OUTSIDE=$(mktemp -d /var/tmp/outside.XXXXXX)
	echo "$OUTSIDE" >"$T/elsewhere"
	echo victim >"$OUTSIDE/victim"
	script "$OUTSIDE/program" <<<": >$OUTSIDE/was-run"
}

@test "a thread that was taken over cannot execute, listen, write outside, signal or trace; nor by way of the helper" {
	release
	outside
	template proxy "validate = [ \"/bin/true\" ]; reload = ( { exec = [ \"/bin/true\" ]; } );"
	node_up
	log_has 'sandbox: no_new_privs, no capabilities, seccomp, Landlock ABI [2-9]'
	[ "$(status_of NoNewPrivs)" = 1 ]
	[ "$(status_of Seccomp)" = 2 ]
	[ "$(status_of CapEff)" = 0000000000000000 ]
	before=$(stat -c '%a %U %G %s %Y' "$OUTSIDE/victim")
	intruder "$(pid_of lockstepd)" "$OUTSIDE" "$CERTS" | tee "$T/attack"
	grep -x 'attacked: lockstepd' "$T/attack"
	grep -x 'attacked: writer' "$T/attack"
	grep -x 'attacked: reader' "$T/attack"
	[ "$(stat -c '%a %U %G %s %Y' "$OUTSIDE/victim")" = "$before" ]
	[ ! -e "$OUTSIDE/was-run" ]
	[ "$(ls "$OUTSIDE" | sort | tr '\n' ' ')" = "program s victim " ]
	# The daemon noticed nothing, and does its work.
	lockstep cert renew proxy --force
	healthy
}

@test "what is let through is noticed: under valgrind memory may be written and executed" {
	release
	outside
	init --quiet
	# No valgrind; but this is how the daemon knows it.
	start lockstepd env LD_PRELOAD=/nonexistent/vgpreload_core.so "$E2E_BUILD/lockstepd" --root "$R"
	wait_for healthy $DEADLINE
	run -1 intruder "$(pid_of lockstepd)" "$OUTSIDE" "$CERTS"
	[[ $output == *"writer: memory to write and execute: let through"* ]]
}

@test "hooks are outside of it" {
	outside
	script "$T/hook" <<-END
		echo hook >"$OUTSIDE/by-hook"
		grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status >"$OUTSIDE/status"
	END
	template proxy "reload = ( { exec = [ \"$T/hook\" ]; } );"
	node_up
	lockstep cert renew proxy --force
	[ "$(cat "$OUTSIDE/by-hook")" = hook ]
	grep -Px 'NoNewPrivs:\t0' "$OUTSIDE/status"
	grep -Px 'Seccomp:\t0' "$OUTSIDE/status"
}

@test "the helper ends with the daemon, and what it ran ends too" {
	script "$T/hook" <<-END
		echo \$\$ >"$T/hook.pid"
		: >"$T/in-hook"
		sleep 600
	END
	template proxy "reload = ( { exec = [ \"$T/hook\" ]; timeout_s = 300; } );"
	node_up
	helper=$(helper_of)
	start change bash -c '"$0" --root "$1" --quiet cert renew proxy --force; :' "$E2E_BUILD/lockstep" "$R"
	wait_for '[ -s "$T/hook.pid" ]' $DEADLINE
	kill -KILL "$(pid_of lockstepd)"
	wait_for "gone $(cat "$T/hook.pid")" $DEADLINE
	wait_for "gone $helper" $DEADLINE
	script "$T/hook" </dev/null
	start_daemon
	all_pairs_match
}

@test "when the helper dies the daemon says so and ends with an error" {
	node_up
	kill -KILL "$(helper_of)"
	wait_for "gone $(pid_of lockstepd)" $DEADLINE
	log_has 'the helper process ended'
	[ ! -e "$R/run/lockstep/control.sock" ]
	start_daemon
	lockstep cert renew proxy --force
}

@test "an RSA key comes from the helper" {
	KEY_SPEC=rsa:2048 template proxy
	node_up
	lockstep cert renew proxy --force
	[ "$(lockstep cert show proxy -o json | jq -r .key)" = rsa:2048 ]
	pair_matches proxy
}

@test "a template that changed on disk is not run before it was reread" {
	outside
	script "$T/one" <<<": >$OUTSIDE/one"
	script "$T/two" <<<": >$OUTSIDE/two"
	template proxy "reload = ( { exec = [ \"$T/one\" ]; } );"
	node_up
	template proxy "reload = ( { exec = [ \"$T/two\" ]; } );"
	lockstep cert renew proxy --force
	[ -e "$OUTSIDE/one" ] && [ ! -e "$OUTSIDE/two" ]
	adopt
	lockstep cert renew proxy --force
	[ -e "$OUTSIDE/two" ]
}
