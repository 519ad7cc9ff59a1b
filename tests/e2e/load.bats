# Nobody notices a rotation: handshakes and kept connections under steady load, and a reader that
# looks at the live files all the time.
load lib

ROTATIONS=20
SWAPS=${E2E_SWAPS:-1000}

setup_file() {
	local d=$BATS_FILE_TMPDIR pair

	load lib
	authority "$d/ca"
	for pair in a b; do
		pair "$d/$pair" "$d/ca"
	done
}

D() { echo "$BATS_FILE_TMPDIR/$1"; }
serve() { echo "serve = ( { endpoint = \"$1\"; name = \"\${fqdn}\"; } );"; }

# 50 new connections a second and KEPT others, while the component changes.
under_load() { # COMPONENT HOST:PORT redis|http KEPT
	local i

	start steady "$E2E_BUILD/tests/steady" "${2#*:}" "$3" 50 "$4" $FQDN
	for ((i = 1; i <= ROTATIONS; i++)); do
		lockstep --quiet cert renew "$1" --force
		serves "$2" "$CERTS/$1_cert.pem"
	done
	stop steady
	cat "$T/steady.log"
	is_generation $((ROTATIONS + 1))
	jq -es '.[0] | .failed == 0 and .handshakes > 100 and .certificates > 5' <(grep '^{' "$T/steady.log")
}
kept_all() { jq -es '.[0] | .kept_lost == 0 and .kept == 20 and .requests > .handshakes' <(grep '^{' "$T/steady.log"); }

# What `cert renew proxy --force --replace-installed` asks for, without a program to start for each.
renew_at_once() {
	curl -sS --unix-socket "$R/run/lockstep/control.sock" http://lockstep/v1/change -d '{
		"kind": "renew", "sets": [], "names": ["proxy"], "number": 0, "force": true,
		"replace_installed": true, "dry_run": false, "detach": false}' | grep -q '"result"'
}

@test "redis under load: no failed handshake, every kept connection stays" {
	services_conf 10
	init --quiet
	redis_up proxy
	template proxy "reload = ( { redis = \"unix:$REDIS_SOCKET\"; } ); $(serve "$REDIS")"
	start_daemon
	under_load proxy "$REDIS" redis 20
	kept_all
}

@test "haproxy's runtime socket under load: no failed handshake, every kept connection stays" {
	services_conf 10
	init --quiet
	haproxy_up proxy
	template proxy "reload = ( { haproxy_socket = \"$HAPROXY_SOCKET\"; } ); $(serve "$HAPROXY")"
	start_daemon
	under_load proxy "$HAPROXY" http 20
	kept_all
}

@test "nginx under load: no failed handshake" {
	services_conf 10
	init --quiet
	CM=$LOCALHOST:$(free_port)
	nginx_up cm "$CM"
	template cm "reload = ( { pidfile = \"$T/nginx.pid\"; signal = \"HUP\"; } ); $(serve "$CM")"
	start_daemon
	under_load cm "$CM" http 0
}

@test "a reader in a tight loop sees a whole, matching pair every time, over $SWAPS swaps" {
	local i log=$T/reader.log

	# What is tested is the order of renames, not the disk: memory makes the swaps come faster.
	if [ -w /dev/shm ]; then
		R=$(mktemp -d /dev/shm/lockstep-XXXXXX)
		echo "$R" >"$T/elsewhere"
		CERTS=$R/etc/lockstep/certs
		ships "$R"
	fi
	init --quiet
	start_daemon
	start reader nice -n 5 "$E2E_BUILD/tests/reader" "$CERTS" proxy
	for ((i = 1; i <= SWAPS; i++)); do
		case $((i % 20)) in
		0) lockstep --quiet cert set proxy --cert "$(D a-cert.pem)" --key "$(D a-key.pem)" ;;
		10) lockstep --quiet cert set proxy --cert "$(D b-cert.pem)" --key "$(D b-key.pem)" ;;
		*) renew_at_once ;;
		esac
	done
	stop reader
	cat "$log"
	is_generation $((SWAPS + 1))
	all_pairs_match
	jq -es ".[0] | .bad == 0 and .vanished == 0 and .swaps > $SWAPS / 2 and .reads > $SWAPS" <(grep '^{' "$log")
}
