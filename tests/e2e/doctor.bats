#!/usr/bin/env bats
# Whatever is broken on a node, `lockstep doctor` names it and prints a command; here each thing is broken for real,
# the printed command is run as it stands, and the node must be well afterwards.

load lib.bash

LIB=var/lib/lockstep
export EDITOR=false # an editor that a test does not expect

# One node for all tests, each of which has a copy of its own: four generations, its daemon stopped.
setup_file() {
	local T=$BATS_FILE_TMPDIR R=$BATS_FILE_TMPDIR/root PIDS=$BATS_FILE_TMPDIR/pids

	ships "$R"
	node_up
	lockstep --quiet cert renew proxy --force
	lockstep --quiet cert renew api proxy --force
	lockstep --quiet cert renew cm --force
	stop lockstepd
}
node() {
	cp -a "$BATS_FILE_TMPDIR/root/." "$R/"
	BACKUP=$BATS_FILE_TMPDIR/root/$LIB
}
running_node() {
	node
	start_daemon
}
start_unready() {
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
}

# What doctor finds wrong: "check: text", one in a line; the others tell about the same examination.
examine() {
	local code=0

	json doctor >"$T/doctor" || code=$?
	[ "$code" = 1 ] && findings
}
findings() { jq -r '.checks[] | select(.state == "wrong") | "\(.name): \(.text)"' "$T/doctor"; }
finds() { examine | grep -E -- "$1"; }
only_finds() {
	examine
	[ "$(findings | sed 's/:.*//' | sort -u | tr '\n' ' ')" = "$* " ]
}
commands() { jq -r '.checks[] | select(.state == "wrong") | .hint' "$T/doctor" | awk '!seen[$0]++'; }
command_of() {
	jq -r --arg name "$1" '[.checks[] | select(.state == "wrong" and .name == $name)][0].hint' "$T/doctor"
}
well() { lockstep --quiet doctor && healthy; }

# A printed command, as an operator would paste it; BACKUP stands for $BACKUP.
paste_command() {
	echo "\$ ${1//BACKUP/$BACKUP}"
	PATH=$E2E_BUILD:$PATH bash -c "${1//BACKUP/$BACKUP}" >>"$T/lockstepd.log" 2>&1 3>&- ||
		{ tail -n 5 "$T/lockstepd.log"; return 1; }
}

# Runs what was printed, from the top; that must be enough. The daemon may be another one then.
mends() {
	local line

	commands >"$T/commands"
	while read -r line; do
		paste_command "$line" || return 1
	done <"$T/commands"
	wait_for well $DEADLINE || { findings; return 1; }
	cp "$R/run/lockstep/lockstepd.pid" "$T/lockstepd.pid"
	cat "$T/lockstepd.pid" >>"$PIDS"
	all_pairs_match
}

history_git() { git --git-dir="$R/$LIB/history.git" "$@"; }
packs() { ls "$R/$LIB/history.git/objects/pack/"*"$1"; }
flip() { # FILE OFFSET: one bit
	python3 - "$1" "$2" <<-'END'
		import os, sys
		path, at = sys.argv[1], int(sys.argv[2])
		os.chmod(path, 0o600)
		data = bytearray(open(path, "rb").read())
		data[at] ^= 4
		open(path, "wb").write(data)
	END
}
unpack() { # stock git may leave loose objects: here each is one
	local pack

	rm -rf "$T/packs"
	mkdir "$T/packs"
	mv $(packs .pack) "$T/packs/"
	rm -f $(packs .idx)
	for pack in "$T"/packs/*; do
		history_git unpack-objects -q <"$pack"
	done
}
history_is_whole() {
	[ "$(generation)" = "${1:-4}" ]
	lockstep history verify
	history_git fsck --strict --full
}

@test "a well node: exit 0, one entry for each check, no colour in a pipe" {
	running_node
	lockstep doctor >"$T/out"
	! grep -q $'\033' "$T/out"
	grep -q "All is well" "$T/out"
	[ "$(json doctor | jq -c '[.healthy, (.checks | map(.state) | unique), (.checks[0] | keys)]')" = \
		'[true,["ok"],["does","hint","name","state","text","why"]]' ]
	[ -z "$(lockstep --quiet doctor)" ]
	# Who may not read the files is answered by the daemon, with the same words.
	diff <(json doctor | jq -S .) <(curl -s --unix-socket "$R/run/lockstep/control.sock" http://x/v1/doctor | jq -S .)
}

@test "no node, a stopped daemon, a killed one: the printed command" {
	finds "init: this node is not initialised"
	[ "$(command_of init)" = "lockstep --root $R init --cluster NAME" ]
	node
	only_finds daemon
	mends
	kill_hard lockstepd
	finds "daemon: lockstepd does not run: its pid file is of one that died"
	mends
}

@test "a root with blanks and quotes in its name, and a configuration elsewhere" {
	R="$T/a root's"
	CERTS=$R/etc/lockstep/certs
	mkdir "$R"
	echo 'reconcile_s = 5;' >"$T/my conf"
	json() { "$E2E_BUILD/lockstep" --root "$R" --config "$T/my conf" -o json "$@"; }
	node
	only_finds daemon
	mends
	tr '\0' ' ' <"/proc/$(pid_of lockstepd)/cmdline" | grep -q -- "--config $T/my conf"
}

@test "the live link, missing, wrong, replaced; a directory gone; files written over: with the daemon stopped" {
	local data break

	node
	data=$CERTS/$(readlink "$CERTS/..data")
	for break in 'rm $CERTS/..data' 'ln -sfn ..gen-9-00000000 $CERTS/..data' 'ln -sfn /nowhere $CERTS/..data' \
		'rm $CERTS/..data; echo x >$CERTS/..data' 'rm $CERTS/..data; mkdir -p $CERTS/..data/x' 'rm -r $data' \
		'rm $CERTS/proxy_key.pem $data/api.pem' 'cat $data/api_cert.pem >$data/proxy_cert.pem'; do
		eval "$break"
		only_finds daemon live
		mends || { echo "after: $break"; return 1; }
		stop lockstepd
	done
}

@test "what is foreign among the live files is moved aside, whole; what belongs stays" {
	local data

	running_node
	data=$CERTS/$(readlink "$CERTS/..data")
	state_of_files >"$T/before"
	for file in "$CERTS/old.pem" "$CERTS/ca/old.pem" "$data/old.pem" "$data/ca/old.pem" "$CERTS/a 'name"; do
		echo "$file" >"$file"
	done
	mkdir "$CERTS/sub"
	only_finds foreign
	mends
	state_of_files | diff "$T/before" -
	[ "$(stat -c %a "$R/$LIB/aside")" = 700 ]
	[ "$(cat "$R/$LIB/aside"/old.pem* | sort)" = \
		"$(printf '%s\n' "$CERTS/old.pem" "$CERTS/ca/old.pem" "$data/old.pem" "$data/ca/old.pem" | sort)" ]
	[ -f "$R/$LIB/aside/a 'name" ] && [ -d "$R/$LIB/aside/sub" ]
}

@test "wrong modes: of directories, keys, configuration and live files" {
	node
	mkdir -p "$TEMPLATES"
	cp "$E2E_SOURCE/templates/proxy.conf" "$TEMPLATES/"
	chmod 666 "$TEMPLATES/proxy.conf" "$R/$LIB/identity/signing-key.pem"
	chmod 755 "$R/$LIB" "$R/$LIB/identity" "$R/$LIB/store" "$R/$LIB/history.git" "$INCOMING"
	chmod 777 "$CERTS" "$R/etc/lockstep"
	chmod 600 "$CERTS/proxy_key.pem" # open to others it would want a new key: secrets.bats
	chmod 600 "$CERTS/api_cert.pem"
	[ "$EUID" != 0 ] || chown 1:1 "$CERTS/cm_cert.pem" "$INCOMING"
	only_finds config daemon identity modes # of live files nothing is known without the identity
	[ "$(commands | grep -c chmod)" -ge 9 ]
	mends
	stop lockstepd
	[ "$(stat -c %a "$R/$LIB/identity/signing-key.pem" "$CERTS" "$INCOMING" | tr '\n' ' ')" = "600 755 700 " ]
	chmod 644 "$CERTS/proxy_key.pem"
	chmod 600 "$CERTS/api_cert.pem"
	only_finds daemon modes
	paste_command "$(commands | sed -n 1p)" # without the daemon, which would heal it by itself
	paste_command "$(commands | sed -n 2p)"
	only_finds daemon
	[ "$(stat -Lc %a "$CERTS/proxy_key.pem" "$CERTS/api_cert.pem" | tr '\n' ' ')" = "640 644 " ]
}

@test "a damaged, missing or cut pack, with a backup: the printed command brings back what is lost" {
	local break newest

	node
	for break in 'rm $(packs .pack)' 'rm $(packs .idx)' 'rm -f $(packs .pack) $(packs .idx)' 'flip $newest 300' \
		'flip $newest 3' 'truncate -s 200 $newest' 'rm -r $R/$LIB/history.git/objects' 'rm -r $R/$LIB/history.git'; do
		newest=$(ls -t $(packs .pack) | head -n 1)
		eval "$break"
		finds '^objects: '
		mends || { echo "after: $break"; return 1; }
		history_is_whole
		stop lockstepd
		rm -rf "${R:?}/$LIB"
		cp -a "$BACKUP" "$R/$LIB"
	done
}

@test "a damaged object is named by generation and path; loose ones are mended too; the rest of a pack is kept" {
	local blob tree file

	node
	unpack
	blob=$(history_git rev-parse main~1:components/proxy/key.cms)
	tree=$(history_git rev-parse main~3:components)
	file=$R/$LIB/history.git/objects/${blob:0:2}/${blob:2}
	flip "$file" 40
	rm -f "$R/$LIB/history.git/objects/${tree:0:2}/${tree:2}"
	finds "^objects: generation 4: components/proxy/key.cms \(blob ${blob:0:12}\) is damaged"
	findings | grep -E "^objects: generation 1: components \(tree ${tree:0:12}\) is missing"
	[[ "$(command_of objects)" == *" --from BACKUP" ]]
	mends
	history_is_whole
	[ "$(find "$R/$LIB/history.git/damaged" -type f | wc -l)" = 1 ]
}

@test "without a backup: what is on this node is used, and the rest is said to be lost" {
	local pack blob

	node
	BACKUP=/nowhere
	# Damage that costs nothing: the end of a pack, an index.
	pack=$(ls -S $(packs .pack) | head -n 1)
	flip "$pack" $(($(stat -c %s "$pack") - 1))
	flip "${pack%.pack}.idx" 1100
	finds '^objects: '
	[[ "$(command_of objects)" == *"--mend objects"* ]]
	run lockstep doctor --mend objects
	finds '^objects: ' # what an index alone knew is lost with it
	rm -rf "$R/$LIB/history.git"
	cp -a "$BATS_FILE_TMPDIR/root/$LIB/history.git" "$R/$LIB/"
	pack=$(ls -S $(packs .pack) | tail -n 1)
	flip "$pack" $(($(stat -c %s "$pack") - 1))
	finds '^objects: '
	[[ "$(command_of objects)" == *"--mend objects" ]]
	mends
	history_is_whole
	stop lockstepd

	# A certificate that is live is found by its content.
	unpack
	blob=$(history_git rev-parse main:components/cm/chain.pem)
	rm -f "$R/$LIB/history.git/objects/${blob:0:2}/${blob:2}"
	finds "\(blob ${blob:0:12}\) is missing" # self-signed, so trust/cm.pem has the same content
	[[ "$(command_of objects)" == *"--mend objects" ]]
	mends
	history_is_whole
	stop lockstepd

	# A sealed key of an earlier generation is in no other place: said, and the present keeps working.
	blob=$(history_git rev-parse main~1:components/cm/key.cms)
	rm -f "$R/$LIB/history.git/objects/${blob:0:2}/${blob:2}"
	unpack # what was mended is in a pack
	rm -f "$R/$LIB/history.git/objects/${blob:0:2}/${blob:2}"
	run lockstep doctor --mend objects
	[ "$status" = 1 ]
	[[ "$output" == *"1 still lost"*"components/cm/key.cms"*"generation 3"*"--from"* ]]
	start_daemon
	lockstep --quiet cert renew proxy --force
	run lockstep rollback 3
	[ "$status" != 0 ]
	run lockstep --quiet doctor
	[ "$status" = 1 ]
}

@test "a damaged history keeps the daemon up and the live files; mended, it opens by itself" {
	node
	state_of_files >"$T/before"
	rm $(packs .pack) $(packs .idx)
	start_unready
	wait_for "log_has 'the node cannot be opened'" $DEADLINE
	finds '^objects: '
	jq -e '.checks[] | select(.name == "daemon" and .state == "note")' "$T/doctor"
	state_of_files | diff "$T/before" -
	mends
	history_is_whole
	state_of_files | diff "$T/before" -
}

@test "a running daemon: --mend refuses, the printed command stops and starts it" {
	running_node
	rm $(packs .pack) $(packs .idx)
	finds '^objects: '
	[[ "$(command_of objects)" == "kill $(pid_of lockstepd) && "* ]]
	mends
	history_is_whole
	run lockstep doctor --mend record
	[ "$status" = 5 ]
	[[ "$output" == *"lockstepd"*"$(pid_of lockstepd)"*"stop lockstepd first"* ]]
}

@test "the record: damaged, missing, older than the history" {
	local record=$R/$LIB/store/record.json break

	running_node
	cp "$record" "$T/older"
	lockstep --quiet cert renew proxy --force
	stop lockstepd
	state_of_files >"$T/before"
	for break in 'flip $record 60' 'echo "{}" >$record' 'rm $record' 'cp $T/older $record'; do
		eval "$break"
		finds '^record: '
		mends || { echo "after: $break"; return 1; }
		is_generation 5
		state_of_files | diff "$T/before" -
		stop lockstepd
	done

	# Not even a daemon that is started without looking takes generations back.
	cp "$T/older" "$record"
	start_unready
	wait_for "log_has 'the record is an older one'" $DEADLINE
	state_of_files | diff "$T/before" -
	only_finds record
	mends
	is_generation 5
	state_of_files | diff "$T/before" -
}

@test "the ref: behind the record, damaged, missing" {
	local main=$R/$LIB/history.git/refs/heads/main break

	node
	for break in 'history_git update-ref refs/heads/main main~2' 'echo garbage >$main' 'rm $main' ': >$main'; do
		eval "$break"
		only_finds daemon ref
		mends || { echo "after: $break"; return 1; }
		history_is_whole
		stop lockstepd
	done
	start_daemon
	history_git update-ref refs/heads/main main~2
	only_finds ref
	mends
	history_is_whole
}

@test "locks: left over, or held by somebody who is named" {
	local history=$R/$LIB/history.git

	running_node
	touch "$history/refs/heads/main.lock" "$history/HEAD.lock" "$history/packed-refs.lock"
	only_finds locks
	mends
	start holder bash -c "exec 9>'$history/gc.lock'; echo held; exec sleep 1000"
	wait_for "[ -s '$T/holder.log' ]" $DEADLINE
	json doctor | jq -e --arg pid "$(pid_of holder)" \
		'.healthy and any(.checks[]; .state == "note" and (.text | contains("process " + $pid + " (sleep)")))'
	stop holder
	only_finds locks
	mends
	stop lockstepd
	start holder flock "$R/$LIB/lock" sleep 1000
	wait_for "examine | grep 'locks: .*lock is held by process'" $DEADLINE
	paste_command "$(command_of locks)"
	wait_for "gone $(pid_of holder)" $DEADLINE
	pgrep -g "$(pid_of holder)" | xargs -r kill
	wait_for '! pgrep -g "$(pid_of holder)"' $DEADLINE
	only_finds daemon
	mends
}

@test "the identity: what is public comes from the history, keys come from a backup" {
	local id=$R/$LIB/identity break

	node
	for break in 'rm $id/node.json' 'rm $id/ca.pem' 'flip $id/signing-cert.pem 100' 'echo x >$id/node.json' \
		'rm $id/wrapping-1-cert.pem'; do
		eval "$break"
		only_finds daemon identity
		[ "$(command_of identity)" = "lockstep --root $R doctor --mend identity" ]
		mends || { echo "after: $break"; return 1; }
		stop lockstepd
		diff -r "$id" "$BACKUP/identity"
	done
	for break in 'rm $id/signing-key.pem' 'rm $id/wrapping-1-key.pem' ': >$id/signing-key.pem' 'rm -r $id' \
		'rm $R/$LIB/store/kek/*' 'rm -r $R/$LIB/store/kek'; do
		eval "$break"
		finds '^identity: '
		[[ "$(command_of identity)" == "cp -a BACKUP/"* ]]
		mends || { echo "after: $break"; return 1; }
		stop lockstepd
	done
}

# Puts an editor in EDITOR that writes the good text of a file over the bad one, if it is opened at this line.
editor() { # LINE FILE WITH
	script "$T/editor" <<-END
		[ "\$*" = "+$1 $2" ] || exit 1
		cp "$3" "$2"
	END
	export EDITOR=$T/editor
}

@test "a template that cannot be read: the node opens, heals, refuses changes in words, and recovers" {
	local before

	node
	services_conf
	template proxy 'files = { key_mode = "0600"; };'
	cp "$TEMPLATES/proxy.conf" "$T/good"
	start_daemon
	wait_for "[ \$(stat -Lc %a '$CERTS/proxy_key.pem') = 600 ]" $DEADLINE
	stop lockstepd
	before=$(readlink "$CERTS/..data")
	echo 'nonsense' >>"$TEMPLATES/proxy.conf"
	start_unready
	wait_for "json status | jq -e '.problems[0] | startswith(\"$TEMPLATES/proxy.conf:\")'" $DEADLINE
	# Healing goes on, and leaves the mode alone that only the template knows.
	echo x >"$CERTS/api_cert.pem"
	rm "$CERTS/proxy_cert.pem"
	wait_for all_pairs_match $DEADLINE
	[ "$(stat -Lc %a "$CERTS/proxy_key.pem")" = 600 ]
	run lockstep cert renew api --force
	[ "$status" = 1 ]
	[[ "$output" == *"$TEMPLATES/proxy.conf:"*"reload lockstepd"* ]]
	authority "$T/ca"
	pair "$T/api" "$T/ca"
	cp "$T/api-cert.pem" "$INCOMING/api_cert.pem"
	cp "$T/api-key.pem" "$INCOMING/api_key.pem"
	wait_for "json status | jq -e '.problems | any(startswith(\"drop-in\"))'" $DEADLINE
	[ "$(readlink "$CERTS/..data")" = "$before" ]

	only_finds config
	editor "$(findings | sed 's/^config: [^:]*:\([0-9]*\):.*/\1/')" "$TEMPLATES/proxy.conf" "$T/good"
	mends
	wait_for "live_is api '$T/api-cert.pem'" $DEADLINE
	[ "$(stat -Lc %a "$CERTS/proxy_key.pem")" = 600 ]
	lockstep --quiet cert renew proxy --force
}

@test "lockstep.conf and a policy that cannot be read: file, line, and an editor there" {
	running_node
	mkdir -p "$R/etc/lockstep/policies"
	cp "$E2E_SOURCE/policies/strict.conf" "$T/good"
	sed '1s/^/bogus = 1;\n/' "$T/good" >"$R/etc/lockstep/policies/strict.conf"
	only_finds config
	findings | grep -F "config: $R/etc/lockstep/policies/strict.conf:1: "
	editor 1 "$R/etc/lockstep/policies/strict.conf" "$T/good"
	mends
	stop lockstepd
	echo 'reconcile_s = 5;' >"$T/good"
	printf 'reconcile_s = 5;\nlocale = "de";\n' >"$CONF"
	only_finds config daemon
	editor 2 "$CONF" "$T/good"
	mends
}

@test "a clock before what has happened" {
	running_node
	# A sanitizer and faketime do not go together.
	[ -n "${LOCKSTEP_RELEASE:-}" ] || LOCKSTEP_RELEASE=$E2E_SOURCE/build/release
	run faketime -f '-2d' "$LOCKSTEP_RELEASE/lockstep" --root "$R" -o json doctor
	[ "$status" = 1 ]
	jq -e '[.checks[] | select(.state == "wrong") | .name] | index("clock")' <<<"$output"
	jq -r '.checks[] | select(.name == "clock") | .hint' <<<"$output" | grep -qE '^date -u -s TIME$|^timedatectl set-ntp true$'
	faketime -f '-4m' "$LOCKSTEP_RELEASE/lockstep" --root "$R" -o json doctor | jq -e 'all(.checks[]; .name != "clock" or .state == "ok")'
	well # with the right time
}

@test "an expired certificate: the printed renewal" {
	local release=${LOCKSTEP_RELEASE:-$E2E_SOURCE/build/release}

	faketime -f '-400d' "$release/lockstep" --root "$R" --quiet init --cluster prod --fqdn $FQDN --node n1
	start_unready
	wait_for "[ -S '$R/run/lockstep/control.sock' ]" $DEADLINE
	finds '^certificates: proxy: expired since '
	mends
}
@test "a full disk, no inodes, a read-only one: said with what a change needs, and the command helps" {
	local need have

	[ "$EUID" = 0 ] || skip "mounting needs root"
	start ns unshare -m --propagation private sleep 1000
	wait_for "! [ /proc/$(pid_of ns)/ns/mnt -ef /proc/self/ns/mnt ]" $DEADLINE
	inside() { nsenter -t "$(pid_of ns)" -m "$@"; }
	lockstep() { inside "$E2E_BUILD/lockstep" --root "$R" "$@"; }
	json() { lockstep -o json "$@"; }
	inside mount -t tmpfs -o size=8m,nr_inodes=600 none "$R"
	inside mkdir -p "$R/usr/share/lockstep"
	inside cp -r "$E2E_SOURCE/templates" "$E2E_SOURCE/policies" "$R/usr/share/lockstep/"
	lockstep --quiet init --cluster prod --fqdn $FQDN --node n1
	start lockstepd nsenter -t "$(pid_of ns)" -m "$E2E_BUILD/lockstepd" --root "$R"
	wait_for well $DEADLINE

	# Its own remains fill it: they go.
	inside mkdir -p "$R/$LIB/rejected/20260101T000000.000Z-proxy"
	inside dd if=/dev/zero of="$R/$LIB/rejected/20260101T000000.000Z-proxy/reason.txt" bs=64k status=none || true
	run lockstep cert renew proxy --force
	[ "$status" = 1 ]
	only_finds disk
	findings | grep -E 'KiB are free in .*, a change needs [0-9]+'
	inside bash -c "$(command_of disk)"
	well
	lockstep --quiet cert renew proxy --force

	# Somebody else's file: named by the command.
	inside dd if=/dev/zero of="$R/big" bs=64k status=none || true
	only_finds disk
	inside bash -c "$(command_of disk)" | sed -n 2p | grep -qF "$R/big"
	# With just what is said to be needed, a change works.
	only_finds disk
	need=$(findings | sed 's/.* a change needs //')
	inside rm "$R/big"
	have=$(inside df --output=avail "$R" | tail -n 1)
	inside dd if=/dev/zero of="$R/big" bs=1k count=$((have - need)) status=none
	well
	lockstep --quiet cert renew --force
	inside rm "$R/big"

	inside bash -c "for i in {1..700}; do : >'$R/$LIB/rejected/'\$i 2>/dev/null || break; done"
	finds 'disk: .* files can still be made'
	inside bash -c "$(command_of disk)"
	well

	stop lockstepd # its pid file is open for writing
	inside mount -o remount,ro "$R"
	finds 'disk: .*read-only'
	[ "$(command_of disk)" = "mount -o remount,rw $R" ]
	inside bash -c "$(command_of disk)"
	start lockstepd nsenter -t "$(pid_of ns)" -m "$E2E_BUILD/lockstepd" --root "$R"
	wait_for well $DEADLINE
	lockstep --quiet cert renew proxy --force
}
