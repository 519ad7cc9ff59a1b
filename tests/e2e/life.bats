#!/usr/bin/env bats
# A short life of a node with everything going wrong, against the sanitizers (their leak check at the daemon's end
# counts); and how far `history verify` says that it is. The long forms are tests/soak/30-generations and 40-day.
load lib

@test "a few hundred seeded changes and faults: whole, well and without leaks each time it is looked at" {
	LOCKSTEP_BUILD=$E2E_BUILD TMPDIR=$T python3 "$E2E_SOURCE/tests/soak/40-day" --short --seed "${E2E_SEED:-40}"
}

# What a command writes to a terminal, in $T/terminal.
on_terminal() {
	python3 -c '
import os, pty, sys
with open(sys.argv[1], "wb") as out:
    def keep(fd):
        data = os.read(fd, 1024)
        out.write(data)
        out.flush()
        return data
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[2:], keep)))' "$T/terminal" "$@" </dev/null >/dev/null
}

some_generations() {
	local i

	start_daemon
	for ((i = 0; i < 3; i++)); do
		lockstep --quiet cert renew proxy --force
	done
	stop lockstepd
}

@test "history verify shows on a terminal how far it is, nowhere else, and takes it away at its end" {
	init --quiet
	some_generations
	on_terminal "$E2E_BUILD/lockstep" --root "$R" history verify
	grep -q 'verified 4 of 4' "$T/terminal"
	tail -n 1 "$T/terminal" | grep -q $'\r\033\\[K4 generations hold'
	run -0 --separate-stderr lockstep history verify
	[ -z "$stderr" ]
	run -0 on_terminal "$E2E_BUILD/lockstep" --root "$R" --quiet history verify
	! grep -q verified "$T/terminal"
}

@test "while a change is taken back, what is in force can be looked at all the time" {
	services_conf 1
	init --quiet
	redis_up proxy
	template proxy "reload = ( { exec = [ \"/bin/true\" ]; } );
		serve = ( { endpoint = \"$REDIS\"; name = \"\${fqdn}\"; } );"
	start_daemon
	# Slow syncs, so that each step is long enough to be met.
	start strace strace -f -qq -o /dev/null -e trace=fsync -e inject=fsync:delay_exit=30ms -p "$(pid_of lockstepd)"
	wait_for "grep -q 'TracerPid:.[1-9]' /proc/$(pid_of lockstepd)/status" $DEADLINE
	start looks bash -c 'until [ -e "$T/go" ]; do
		"$0" --root "$R" --quiet cert list >/dev/null 2>>"$T/faults"; echo >>"$T/looks"; done' "$E2E_BUILD/lockstep"
	run -6 lockstep cert renew proxy --force
	: >"$T/go"
	wait_for "gone $(pid_of looks)" $DEADLINE
	stop strace
	cat "$T/faults"
	[ ! -s "$T/faults" ]
	[ "$(wc -l <"$T/looks")" -gt 3 ]
	wait_for healthy $DEADLINE
	lockstep --quiet history verify
}
