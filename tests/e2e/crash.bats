#!/usr/bin/env bats
# A change that is killed, or met by a failing disk, at each of its system calls in turn: one kind of change here, all
# of them in tests/soak/10-crash. See tests/crash/run.

CRASH=$BATS_TEST_DIRNAME/../crash/run

# The numbers are shown when it fails; so is how to see one point again.
@test "each damage is noticed by its rule" {
	"$CRASH" --self-test
}

@test "cert set, killed before every call: whole or absent" {
	LOCKSTEP_BUILD=${LOCKSTEP_RELEASE:-build/release} "$CRASH" --kinds set --faults kill
}

@test "cert set, every call failing with ENOSPC and with EIO: refused in words or whole" {
	LOCKSTEP_BUILD=${LOCKSTEP_RELEASE:-build/release} "$CRASH" --kinds set --faults enospc,eio
}

# The way back is decided before this node has its commit: the points between the record and the pack's index.
@test "killed in the middle of an automatic rollback, the node opens and goes back" {
	local n

	n=$("$CRASH" --list automatic-rollback | grep -n 'openat .*/pack_git2_.*\.lock$' | tail -n 1 | cut -d: -f1)
	[ "$n" -gt 0 ]
	"$CRASH" --point automatic-rollback kill "$n"
}
