#!/usr/bin/env bats
# Moving to etcd, and joining, killed before each call that changes a file system or is sent: the same command again, or the
# daemon, comes to one truth. With the release build; the sanitizers' would only take longer. There are some hundred points,
# so one in STRIDE is taken, from another one on each day; LOCKSTEP_CRASH_STRIDE=1 takes all of them.

load lib
load etcd
load cluster

setup_file() {
	export LOCKSTEP_BUILD=${LOCKSTEP_RELEASE:-build/release}
	export STRIDE=${LOCKSTEP_CRASH_STRIDE:-23}
	export FIRST=$((1 + $(date +%j | sed 's/^0*//') % STRIDE))
	echo "# every $STRIDE. point from $FIRST on" >&3
}

# Runs a command and kills it before its Nth call; false when it ended before.
struck() { # N COMMAND…
	local n=$1

	shift
	[ -p "$T/commands" ] || mkfifo "$T/commands"
	exec 7<>"$T/commands"
	echo arm >&7
	"$E2E_SOURCE/build/san/tests/inject" kill "$n" "$@" <&7 >"$T/injected" 2>"$T/injected.log" || true
	exec 7>&-
	grep -q '^point' "$T/injected"
}
# What no crash may leave.
debris() { # ROOT
	find "$1" \( -name '.*.new' -o -name '*.new' -o -name '*.lock' -o -name 'tmp_*' -o -name '*_git2_*' \
		-o -name '..tmp*' -o -name 'init-running' \) | grep -v '/store/lock$' || true
}
# Young temporary links may be another process's: a tidy leaves them for a while.
age() { find "$1/etc/lockstep/certs" -name '..tmp*' -exec touch -h -d '1 hour ago' {} +; }
forget_in_etcd() {
	etcd_call e1 "$CA" "$PEM" kv/deleterange "{\"key\":\"$(printf %s / | b64)\",\"range_end\":\"$(printf 0 | b64)\"}" >/dev/null
}

@test "store migrate, killed before each call: one store, the same state, nothing left" {
	export ETCD_DIR=$T/etcd
	mkdir "$ETCD_DIR"
	use n1
	ships "$R"
	lockstep init --cluster prod --fqdn $FQDN --node n1 --quiet
	start_daemon
	cluster_pem
	etcd_plan e1
	etcd_files e1 "$E2E_BUILD/lockstep" --root "$R" --quiet
	lockstep cert renew --force --quiet
	stop lockstepd
	etcd_all_up
	head=$(commit_of n1)
	cp -a "$R" "$T/template"
	n=$FIRST
	points=0
	while :; do
		rm -rf "$R"
		cp -a "$T/template" "$R"
		forget_in_etcd
		hit=yes
		struck $n "$E2E_BUILD/lockstep" --root "$R" store migrate --etcd "$(endpoints)" --quiet || hit=no
		if [ $((points % 2)) = 0 ] || [ $hit = no ]; then
			lockstep store migrate --etcd "$(endpoints)" --quiet
		fi
		age "$R"
		# The daemon goes on where it was: on the one store, or the other.
		start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
		wait_for healthy $DEADLINE
		if [ "$(json status | jq -r .store)" != etcd ]; then
			[ $((points % 2)) = 1 ] # never when the command said that it is done
			[ -f "$R/var/lib/lockstep/store/record.json" ]
			lockstep store migrate --etcd "$(endpoints)" --quiet
		fi
		[ "$(json status | jq -r '.store, .generation, .commit' | xargs)" = "etcd 2 $head" ]
		[ ! -e "$R/var/lib/lockstep/store/record.json" ]
		[ "$(body_of_record)" = "$head" ]
		lockstep history verify --quiet
		stop lockstepd
		run debris "$R"
		[ "$output" = "" ] || { echo "point $n: $(cat "$T/injected"): $output"; return 1; }
		[ $hit = yes ] || break
		n=$((n + STRIDE))
		points=$((points + 1))
	done
	echo "# $points points of $n" >&3
	[ $n -gt 40 ]
}
body_of_record() { etcd_get record | jq -r '.body | fromjson.tip.commit'; }

@test "join, killed before each call: the same command again makes it a member, once" {
	cluster_pem
	cluster_begin e1
	configure n2
	ships "$T/n2"
	cp -a "$T/n2" "$T/template"
	n=$FIRST
	points=0
	while :; do
		rm -rf "$T/n2"
		cp -a "$T/template" "$T/n2"
		on n1 token create --quiet >"$T/token"
		g=$(number_of n1)
		hit=yes
		struck $n "$E2E_BUILD/lockstep" --root "$T/n2" join --token-file "$T/token" --node n2 --replace --quiet || hit=no
		member=no
		[ $hit = no ] || on n2 join --token-file "$T/token" --node n2 --replace --quiet || member=yes
		[ "$(number_of n1)" = $((g + 1)) ]
		[ "$(commit_of n2)" = "$(commit_of n1)" ]
		on n2 history verify --quiet
		# Struck after it was a member: the daemon does the rest, such as its offer for the next epoch.
		if [ $member = yes ] || [ $((points % 5)) = 0 ] || [ $hit = no ]; then
			age "$T/n2"
			daemon_up n2
			wait_for "all_at $((g + 1)) && all_well" 40
			stop n2
		fi
		run debris "$T/n2/var"
		[ "$output" = "" ] || { echo "point $n: $(cat "$T/injected"): $output"; return 1; }
		if [ $((points % 5)) = 0 ] || [ $hit = no ]; then
			[ -z "$(debris "$T/n2")" ]
			stop gateway-n1
			stop n1
			daemon_up n1
			gateway_up n1
		fi
		[ $hit = yes ] || break
		n=$((n + STRIDE))
		points=$((points + 1))
	done
	echo "# $points points of $n" >&3
	[ $n -gt 40 ]
	[ "$(on_json n1 status | jq -r '.nodes[].name' | xargs)" = "n1 n2" ]
}
