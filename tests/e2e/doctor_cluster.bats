#!/usr/bin/env bats
# What `lockstep doctor` says of a node whose store is in etcd. Each thing is broken for real, with a real etcd under
# mutual TLS; what was printed is run as it stands, from the top, and the whole cluster must be well afterwards.

load lib.bash
load etcd.bash
load cluster.bash

LIB=var/lib/lockstep

eval "lib_$(declare -f teardown)"
teardown() { # what printed commands started ends as well
	adopt
	lib_teardown
}

# A machine is called as its node; what is run there sees that node's files only.
machines() {
	mkdir -p "$T/bin"
	cat >"$T/bin/ssh" <<-END
		#!/bin/bash
		node=\$1
		shift 2
		exec "$E2E_BUILD/lockstep" --root "$T/\$node" "\$@"
	END
	chmod +x "$T/bin/ssh"
}
begin() { # COUNT
	machines
	cluster_pem
	cluster_up "$1"
}

# What doctor finds wrong on a node: "check: text", one in a line; the others tell about the same examination.
examine() { # NODE
	local code=0

	on_json "$1" doctor >"$T/doctor" || code=$?
	[ "$code" = 1 ] && findings
}
findings() { jq -r '.checks[] | select(.state == "wrong") | "\(.name): \(.text)"' "$T/doctor"; }
finds() { examine "$1" >"$T/findings" && grep -E -- "$2" "$T/findings" || { cat "$T/findings"; return 1; }; }
only_finds() { # NODE CHECK…
	local node=$1

	shift
	examine "$node"
	[ "$(findings | sed 's/:.*//' | sort -u | tr '\n' ' ')" = "$* " ]
}
commands() { jq -r '.checks[] | select(.state == "wrong" and .hint != "") | .hint' "$T/doctor" | awk '!seen[$0]++'; }
command_of() { jq -r --arg name "$1" '[.checks[] | select(.state == "wrong" and .name == $name)][0].hint' "$T/doctor"; }

# A printed command, as an operator would paste it. TOKEN stands for a file with a new token of $GIVER.
paste_command() {
	local command=$1

	if [[ $command == *TOKEN* ]]; then
		on "$GIVER" token create --quiet >"$T/token"
		command=${command//TOKEN/$T/token}
	fi
	echo "\$ $command"
	PATH=$T/bin:$E2E_BUILD:$PATH bash -c "$command" >>"$T/pasted.log" 2>&1 3>&- || { tail -n 5 "$T/pasted.log"; return 1; }
	adopt
}
# What a command started is of this test, and ends with it.
adopt() {
	local file member

	for file in "$T"/n*/run/lockstep/lockstepd.pid; do
		[ ! -s "$file" ] || grep -qx "$(cat "$file")" "$PIDS" || cat "$file" >>"$PIDS"
		[ ! -s "$file" ] || cp "$file" "$T/$(basename "${file%/run/*}").pid"
	done
	[ -s "$ETCD_DIR/members" ] || return 0
	for member in $(etcd_names); do
		pgrep -f "^etcd --config-file $T/n1/$LIB/etcd/$member/etcd.conf.yml" >"$T/found" || continue
		cp "$T/found" "$ETCD_DIR/etcd-$member.pid"
		grep -qx "$(cat "$T/found")" "$PIDS" || cat "$T/found" >>"$PIDS"
	done
}
paste_all() {
	local line

	commands >"$T/commands"
	while read -r line; do
		paste_command "$line" || return 1
	done <"$T/commands"
}
well() { # NODE…
	local node

	[ $# -gt 0 ] || set -- $(nodes)
	for node; do on "$node" --quiet doctor && on "$node" --quiet status || return 1; done
}
mends() { # [NODE…]: that must be well
	paste_all
	wait_for "well $*" $DEADLINE || { for node in ${*:-$(nodes)}; do examine "$node"; done; return 1; }
	adopt # once they have said who they are
}
stop_hard() { # NODE
	kill -KILL "$(pid_of "$1")"
	wait_for "gone $(pid_of "$1")" $DEADLINE
}
stop_nodes() { for node; do stop "$node"; done; }
etcd_again() { etcd_start e1 "$T/n1/$LIB/etcd/e1/etcd.conf.yml"; etcd_wait $STARTS "$CA" "$PEM"; }
change() { on "$1" --quiet cert renew proxy --force; } # NODE
# An etcd without anything, or with what a copy of its data had.
etcd_replace() { # [COPY]
	rm -rf "$T/n1/$LIB/etcd/e1/data"
	[ $# = 0 ] || cp -a "$1" "$T/n1/$LIB/etcd/e1/data"
}

@test "a well cluster: nothing is found on any node, with and without its daemon's answer" {
	begin 2
	well
	for node in n1 n2; do
		[ "$(on_json $node doctor | jq -c '[.healthy, (.checks | map(.state) | unique)]')" = '[true,["ok"]]' ]
	done
	diff <(on_json n2 doctor | jq -S .) <(curl -s --unix-socket "$T/n2/run/lockstep/control.sock" http://x/v1/doctor | jq -S .)
	stop n2
	run ! on n2 doctor --mend record # there is none on this node
	[[ $output == *"in etcd"* ]]
	[ ! -e "$T/n2/$LIB/store/record.json" ]
}

@test "etcd does not run, or hangs: said within seconds, and all else is still examined" {
	local before

	begin 2
	etcd_stop
	before=$EPOCHSECONDS
	only_finds n1 engine
	[ $((EPOCHSECONDS - before)) -le 8 ]
	finds n1 "engine: etcd member e1 of this machine does not run"
	[ "$(command_of engine)" = "setsid -f etcd --config-file $T/n1/$LIB/etcd/e1/etcd.conf.yml" ]
	jq -e '[.checks[] | select(.state == "ok") | .name] as $ok | ["objects", "identity", "ref", "live", "foreign"] - $ok == []' "$T/doctor"
	finds n2 "engine: etcd at https://127.0.0.1:[0-9]+ does not answer"
	[ "$(command_of engine)" = "" ] # not its machine

	# Offline, what is wrong on the node itself is found and mended as ever.
	stop n2
	rm "$T/n2/etc/lockstep/certs/proxy_key.pem"
	finds n2 "live: .*proxy_key.pem"
	examine n1
	mends n1
	paste_command "$(on_json n2 doctor | jq -r '[.checks[] | select(.name == "live")][0].hint')"
	wait_for well $DEADLINE

	kill -STOP "$(cat "$ETCD_DIR/etcd-e1.pid")"
	before=$EPOCHSECONDS
	finds n1 "engine: etcd member e1 \(process [0-9]+, .*\) runs, but does not answer"
	[ $((EPOCHSECONDS - before)) -le 8 ]
	kill -CONT "$(cat "$ETCD_DIR/etcd-e1.pid")"
	wait_for well $DEADLINE
}

@test "one of three etcd members, then two: which, and whether the cluster can still change" {
	machines
	cluster_pem
	cluster_begin e1 e2 e3
	wait_for "well n1" $DEADLINE
	etcd_stop e3
	finds n1 "engine: etcd member e3 of this machine does not run"
	jq -r '.checks[] | select(.name == "engine") | .why' "$T/doctor" | grep "Agreement goes on"
	etcd_stop e2
	wait_for "finds n1 'engine: etcd at .* answers, but is with no majority'" $DEADLINE
	jq -r '.checks[] | select(.name == "engine") | .why' "$T/doctor" | grep "changes wait"
	[ "$(findings | grep -c 'does not run')" = 2 ]
	mends
}

@test "etcd was reset: the printed command fills it again" {
	begin 3
	stop n3 # will have to catch up
	wait_for "change n1" $DEADLINE
	wait_for "all_at $(number_of n1) n1 n2" $DEADLINE
	etcd_stop
	etcd_replace
	etcd_again
	wait_for "finds n2 'record: etcd holds nothing of this cluster'" $DEADLINE
	on n2 status | grep "it was reset, or the endpoints name another one"
	[ "$(command_of record)" = "lockstep --root $T/n2 store migrate --etcd $(endpoints)" ]
	paste_all
	wait_for "only_finds n2 members" $DEADLINE # n3 is away
	daemon_up n3
	wait_for well $DEADLINE
	change n3
	all_at "$(number_of n1)"
}

@test "etcd was restored from an older snapshot: nothing goes back" {
	local generation

	begin 2
	etcd_stop
	cp -a "$T/n1/$LIB/etcd/e1/data" "$T/snapshot"
	etcd_again
	wait_for all_well $DEADLINE
	change n1
	generation=$(number_of n1)
	wait_for "all_at $generation" $DEADLINE
	stop_nodes n1 n2 # they would do it by themselves
	etcd_stop
	etcd_replace "$T/snapshot"
	etcd_again
	finds n1 "record: etcd names generation $((generation - 1)), the history is at $generation"
	jq -r '.checks[] | select(.name == "record") | .why' "$T/doctor" | grep "by itself"
	! findings | grep -E '^(ref|live|objects|identity):'
	paste_all # starts n1
	wait_for "on_json n1 status | jq -e '.generation == $generation'" $DEADLINE
	wait_for "finds n1 'node n2 is away'" $DEADLINE
	examine n2
	mends
	all_at "$generation"
}

@test "two histories: the node that is alone with its own joins anew" {
	local node generation

	begin 3
	generation=$(number_of n1)
	stop_nodes n1 n2 n3
	etcd_stop
	mkdir "$T/saved"
	for node in n1 n2; do cp -a "$T/$node/$LIB" "$T/saved/$node"; done
	etcd_again
	for node in n1 n2 n3; do daemon_up $node; done
	wait_for all_well $DEADLINE
	change n3
	wait_for "all_at $((generation + 1))" $DEADLINE
	stop_nodes n1 n2 n3
	etcd_stop
	for node in n1 n2; do
		rm -rf "$T/$node/${LIB:?}"
		cp -a "$T/saved/$node" "$T/$node/$LIB"
	done
	etcd_again
	daemon_up n1
	daemon_up n2
	wait_for "on n1 --quiet cert renew api --force" $DEADLINE
	change n1

	daemon_up n3
	wait_for "finds n3 'record: diverged: this node is at generation $((generation + 1))'" $DEADLINE
	on n3 status | grep diverged
	live_everywhere proxy "$T/n3/etc/lockstep/certs/proxy_cert.pem" n3
	GIVER=n1
	mends
	all_at "$(number_of n1)"
}

@test "a node that was away for so long that etcd no longer has what it lacks" {
	local generation

	begin 3
	generation=$(number_of n1)
	stop n3
	wait_for "change n1" $DEADLINE
	wait_for "change n1" $DEADLINE
	etcd_delete "decided/$(printf %012d $((generation + 1)))"
	finds n3 "record: this node is at generation $generation, the cluster at $((generation + 2)), and etcd does not have"
	GIVER=n1
	paste_command "$(command_of record)"
	wait_for well $DEADLINE
}

@test "certificates for etcd, expired and due: the daemon issues them anew" {
	local release=${LOCKSTEP_RELEASE:-$E2E_SOURCE/build/release} pid

	begin 2
	pid=$(cat "$ETCD_DIR/etcd-e1.pid")
	stop n1
	# A sanitizer and faketime do not go together.
	etcd_files e1 faketime -f '-400d' "$release/lockstep" --root "$T/n1" --quiet
	finds n1 "engine: .*/identity/etcd.pem: expired since"
	finds n1 "engine: .*/etcd/e1/member.pem: expired since"
	finds n2 "engine: etcd at .* does not answer: .*expired"
	examine n1
	mends
	[ "$(cat "$ETCD_DIR/etcd-e1.pid")" = "$pid" ] # etcd was not restarted
	kill -0 "$pid"

	stop n1
	etcd_files e1 faketime -f '-300d' "$release/lockstep" --root "$T/n1" --quiet
	examine n1
	jq -r '.checks[] | select(.state == "note" and .name == "engine") | .text' "$T/doctor" >"$T/due"
	grep "/identity/etcd.pem: due" "$T/due"
	grep "/etcd/e1/member.pem: due" "$T/due"
	mends
	on_json n1 doctor | jq -e 'all(.checks[]; .state == "ok")'

	# With the daemon running, a reload has it look at once.
	echo >"$T/n1/$LIB/identity/etcd.pem"
	finds n1 "engine: .*found no CERTIFICATE block"
	[ "$(command_of engine)" = "kill -HUP \$(cat $T/n1/run/lockstep/lockstepd.pid)" ]
	mends
}

@test "clocks: this machine's against etcd's, and a node that writes of a time to come" {
	local release=${LOCKSTEP_RELEASE:-$E2E_SOURCE/build/release}

	begin 2
	faketime -f '+10m' "$release/lockstep" --root "$T/n1" -o json doctor >"$T/doctor" || true
	findings | grep "engine: the clock of this machine is 600 s ahead of that of etcd" ||
		findings | grep "engine: the clock of this machine is 59[89] s ahead of that of etcd"
	command_of engine | grep -qE '^date -u -s TIME$|^timedatectl set-ntp true$'
	faketime -f '+4m' "$release/lockstep" --root "$T/n1" -o json doctor | jq -e .healthy

	stop n2
	start n2 faketime -f '+10m' "$release/lockstepd" --root "$T/n2"
	wait_for "finds n1 'members: node n2 says that its time is .* still to come'" $DEADLINE
	[ "$(command_of members)" = "ssh n2 lockstep doctor" ]
	kill "$(cat "$T/n2/run/lockstep/lockstepd.pid")" # with the right time
	wait_for "gone $(cat "$T/n2/run/lockstep/lockstepd.pid")" $DEADLINE
	daemon_up n2
	wait_for well $DEADLINE
}

@test "a node is away: its name, and what is found there" {
	begin 2
	stop_hard n2
	wait_for "finds n1 'members: node n2 is away since '" $DEADLINE
	[ "$(findings | wc -l)" = 1 ]
	[ "$(command_of members)" = "ssh n2 lockstep doctor" ]
	run "$T/bin/ssh" n2 lockstep doctor
	[[ $output == *"lockstepd does not run: its pid file is of one that died"* ]]
	finds n2 daemon
	mends
}

@test "a node is stuck behind the others" {
	local generation code=0

	export LEASE_S=60 ROTATION="away_after_s = 3; vote_s = 20; served_s = 3; timeout_s = 12;"
	begin 3
	generation=$(number_of n1)
	printf '#!/bin/bash\n>%s/reached\nuntil [ -e %s/go ]; do sleep 0.05; done\n' "$T" "$T" >"$T/hook"
	chmod +x "$T/hook"
	mkdir -p "$T/n3/etc/lockstep/templates"
	sed "s|^component = .*|&\nreload = ( { exec = [ \"$T/hook\" ]; } );|" "$E2E_SOURCE/templates/proxy.conf" >"$T/n3/etc/lockstep/templates/proxy.conf"
	kill -HUP "$(pid_of n3)"
	wait_for "grep -q 'configuration and templates reread' $T/n3.log" $DEADLINE
	# Stands still between its vote and its report: its sign of life stays for a minute, and says where it was.
	on n1 --quiet cert renew proxy --force >"$T/change" 2>&1 3>&- &
	wait_for "[ -e $T/reached ]" $DEADLINE
	kill -STOP "$(pid_of n3)"
	: >"$T/go"
	wait $! || code=$?
	[ "$code" = 1 ] # degraded: n3 has not reported in time
	finds n1 "members: node n3 is at generation $generation, not at $((generation + 1))"
	[ "$(command_of members)" = "ssh n3 lockstep doctor" ]
	kill -CONT "$(pid_of n3)"
	wait_for "all_at $((generation + 1))" $DEADLINE
	wait_for "! finds n1 '^members:'" $DEADLINE
}

@test "this node was removed: said, and the way back" {
	begin 3
	on n1 --quiet node remove n3
	wait_for "finds n3 'members: this node, n3, was removed from the cluster'" $DEADLINE
	only_finds n3 members
	on n3 status | grep "was removed from the cluster"
	GIVER=n1 # where the gateway is
	mends
	[ "$(on_json n1 status | jq '.nodes | length')" = 3 ]
}

@test "a record that no member signed is taken away" {
	local generation

	begin 2
	generation=$(number_of n1)
	etcd_get record >"$T/record"
	jq -c '.body += " "' "$T/record" | etcd_put record
	wait_for "finds n1 '^record: '" $DEADLINE
	only_finds n1 record
	GIVER=n1
	mends
	[ "$(number_of n2)" = "$generation" ]
	change n2
	wait_for "all_at $((generation + 1))" $DEADLINE
}

@test "a move to etcd that was begun and not finished" {
	local i

	machines
	export ETCD_DIR=$T/etcd
	mkdir -p "$ETCD_DIR"
	use n1
	ships "$R"
	configure n1
	lockstep init --cluster prod --fqdn $FQDN --node n1 --quiet
	etcd_plan e1
	etcd_files e1 "$E2E_BUILD/lockstep" --root "$R" --quiet
	cluster_pem
	etcd_all_up
	# Killed before its second file is in place: the first is the mark.
	for i in 1 2 3 4 5 6; do
		ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 strace -f -qq -o /dev/null -e "inject=rename,renameat,renameat2:signal=KILL:when=$i" \
			"$E2E_BUILD/lockstep" --root "$R" store migrate --etcd "$(endpoints)" --quiet || true
		! grep -qs migrating "$R/$LIB/store/etcd.json" || break
	done
	grep migrating "$R/$LIB/store/etcd.json"
	etcd_stop
	finds n1 "engine: the move of the store to etcd was begun and is not finished"
	findings | grep "engine: etcd member e1 of this machine does not run"
	mends n1
	grep active "$R/$LIB/store/etcd.json"
	[ "$(on_json n1 status | jq -r .store)" = etcd ]
}

@test "etcd has used up its space" {
	local big i

	begin 1
	etcd_stop
	sed -i 's/^quota-backend-bytes: .*/quota-backend-bytes: 4194304/' "$T/n1/$LIB/etcd/e1/etcd.conf.yml"
	etcd_again
	wait_for "well n1" $DEADLINE
	head -c 400000 /dev/urandom >"$T/big"
	for i in $(seq 40); do
		printf '{"key":"%s","value":"%s"}' "$(printf big | b64)" "$(b64 <"$T/big")" >"$T/put"
		curl -sS --fail-with-body --cacert "$CA" --cert "$PEM" --key "$PEM" "$(etcd_url e1)/v3/kv/put" -d "@$T/put" >"$T/answer" || break
	done
	grep "space exceeded" "$T/answer"
	finds n1 "engine: etcd at .* has used up its space"
	mends
	change n1
}
