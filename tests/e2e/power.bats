#!/usr/bin/env bats
# Power cuts at the block writes of a change, on ext4 and xfs: tests/power/run says how. This is the short form, with a
# bounded number of states; tests/soak/20-power looks at all of them, and at other changes.

bats_require_minimum_version 1.7.0

power() { "$BATS_TEST_DIRNAME/../power/run" "$@"; }
survives() { # FILE-SYSTEM
	run power -n 40 "$1" set
	echo "$output"
	[ "$status" = 0 ]
	# Not a run that looked at nothing: a change has far more writes and syncs than this.
	[[ ${lines[-1]} =~ :\ ([0-9]+)\ writes,\ ([0-9]+)\ flushes,\ ([0-9]+)\ states,\ 0\ violations$ ]]
	[ "${BASH_REMATCH[1]}" -ge 40 ] && [ "${BASH_REMATCH[2]}" -ge 40 ] && [ "${BASH_REMATCH[3]}" -ge 20 ]
}
is_noticed() { # FILE-SYSTEM: the same change without syncs
	run power -f -n 40 -l all "$1" set
	echo "$output"
	[ "$status" = 1 ]
	[[ ${lines[-1]} =~ [1-9][0-9]*\ violations$ ]]
}

@test "ext4: a power cut leaves each change whole or absent, and what was answered in force" { survives ext4; }
@test "xfs: a power cut leaves each change whole or absent, and what was answered in force" { survives xfs; }
@test "ext4: syncs left out are noticed" { is_noticed ext4; }
@test "xfs: syncs left out are noticed" { is_noticed xfs; }
