# The gateway: what it passes on and what not, its certificate's file, who is slow, rude or many; before something that
# stands in for the daemon, and before the real one as the user that it is.
load lib

CONTROL=$E2E_SOURCE/tests/e2e/control.py
CLIENTS=$E2E_SOURCE/tests/e2e/clients.py
NOBODY=64998
GATEWAY=64999 # a user that only the daemon under test knows

RUN_DIR() { echo "$R/run/lockstep"; }
not() { ! "$@"; } # bash does not end a test at a plain "!"
glog() { grep -qE -- "$1" "$T/gateway.log"; }
gcount() { grep -cE -- "$1" "$T/gateway.log"; }

# A new leaf for it: key, leaf, CA, as the daemon writes it.
certificate() { # NAME
	[ -f "$T/ca-cert.pem" ] || authority "$T/ca"
	pair "$T/$1" "$T/ca" san=DNS:localhost,IP:127.0.0.1 eku=serverAuth
	mkdir -p "$(RUN_DIR)"
	cat "$T/$1-key.pem" "$T/$1-cert.pem" "$T/ca-cert.pem" >"$(RUN_DIR)/.gateway.pem.new"
	mv "$(RUN_DIR)/.gateway.pem.new" "$(RUN_DIR)/gateway.pem"
}
gateway_conf() { # [MORE]
	mkdir -p "${CONF%/*}" "$(RUN_DIR)"
	echo "gateway = { listen = \"127.0.0.1:0\"; }; $*" >"$CONF"
}
start_gateway() { # [COMMAND…]: runs it by way of that
	start gateway "$@" "$E2E_BUILD/lockstep-gateway" --root "$R"
	wait_for 'grep -q "listening on" $T/gateway.log' $DEADLINE
	G=$(sed -n 's/.*listening on //p' "$T/gateway.log" | tail -n 1)
}
start_control() {
	start control /usr/bin/python3 "$CONTROL" "$(RUN_DIR)/control.sock" "$T"
	wait_for 'grep -q listening $T/control.log' $DEADLINE
}
gateway_up() {
	gateway_conf
	certificate first
	start_control
	start_gateway
}
# ask PATH [CURL-WORDS…]: the body in $T/body, the head in $T/head; prints the status, 000 without an answer.
ask() {
	local path=$1

	shift
	: >"$T/body"
	curl -s --cacert "$T/ca-cert.pem" --max-time 30 -D "$T/head" -o "$T/body" -w '%{http_code}' "https://$G$path" "$@" || true
}
is() { # STATUS PATH [CURL-WORDS…]
	local want=$1 got

	shift
	got=$(ask "$@")
	[ "$got" = "$want" ] || { echo "$*: $got, wanted $want: $(cat "$T/body")"; return 1; }
}
error_is() { jq -e --arg code "$1" '.error | .code == $code and (.message | length > 0)' "$T/body"; }
asked() { grep -cxE -- "$1" "$T/asked"; }
of_size() { head -c "$1" /dev/zero | tr '\0' x; }

@test "what is on the list is passed on as it is, and so is the answer" {
	gateway_up
	is 200 /v1/cluster
	[ "$(cat "$T/body")" = '{"cluster":"prod"}' ]
	grep -qi '^content-type: application/json' "$T/head"
	is 200 /v1/join --data-binary '{"name": "n2"}'
	[ "$(cat "$T/body")" = '{"name": "n2"}' ]
	is 200 /v1/join --data-binary chunked
	[ "$(cat "$T/body")" = '{"a":1}' ]
	is 200 /v1/join/history --data-binary 'large 4194304'
	[ "$(stat -c %s "$T/body")" = 4194304 ]
	grep -qi '^content-type: application/octet-stream' "$T/head"
	is 200 /metrics
	grep -qx 'lockstep_generation 7' "$T/body"
	grep -qi '^content-type: text/plain; version=0.0.4' "$T/head"
	is 409 /v1/join --data-binary 'status 409'
	[ "$(cat "$T/body")" = '{"said":1}' ]
	is 200 '/v1/%63luster?what=ever'
	of_size 32768 >"$T/long"
	is 200 /v1/join --data-binary "@$T/long"
	is 200 /v1/join -H 'Transfer-Encoding: chunked' --data-binary "@$T/long"
	cmp "$T/long" "$T/body"
	[ "$(asked 'GET /v1/cluster 0')" = 2 ] && [ "$(asked 'GET /v1/metrics 0')" = 1 ]
	[ "$(asked 'POST /v1/join 32768')" = 2 ]
	glog '127.0.0.1 asked to join: the daemon says 200'
}

@test "what is not on the list does not reach the daemon" {
	local path

	gateway_up
	: >"$T/asked"
	for path in / /v1/status /v1/change /v1/metrics /v1/certs /v1/cluster/ /v1/join/x /metrics/ /v1 '/v1/cluster%2f' \
		'/v1/join%2fhistory/..'; do
		is 404 "$path"
		error_is 'not found'
		is 404 "$path" --data-binary x
	done
	is 405 /v1/join
	grep -qi '^allow: POST' "$T/head"
	error_is usage
	is 405 /v1/join/history
	is 405 /v1/cluster --data-binary x
	grep -qi '^allow: GET' "$T/head"
	is 405 /metrics --data-binary x
	for method in PUT DELETE PATCH OPTIONS TRACE CONNECT; do
		is 405 /v1/cluster -X $method
	done
	is 405 /v1/cluster -I
	of_size 32769 >"$T/long"
	is 413 /v1/join --data-binary "@$T/long"
	error_is refused
	of_size 4097 >"$T/long"
	is 413 /v1/join/history --data-binary "@$T/long"
	is 413 /v1/cluster -X GET --data-binary x
	of_size 1000000 >"$T/long"
	is 413 /v1/join --data-binary "@$T/long"
	is 400 '/v1/cluster%00'
	is 400 /v1/cluster -H "X: $(of_size 9000)"
	[ ! -s "$T/asked" ]
	is 200 /v1/cluster
}

@test "without the daemon it says so, and goes on when it is there" {
	gateway_conf
	certificate first
	start_gateway
	is 503 /v1/cluster
	error_is unreachable
	grep -qi '^retry-after: 5' "$T/head"
	not grep -q "$T" "$T/body" # paths are nobody's business
	is 503 /v1/join --data-binary x
	start_control
	is 200 /v1/cluster
	kill_hard control
	is 503 /v1/cluster
	[ "$(gcount 'the daemon cannot be reached')" = 2 ]
	[ "$(gcount 'the daemon answers again')" = 1 ]
}

@test "a daemon that answers badly is told from one that is away" {
	gateway_up
	for how in break silent odd 'large 262145'; do
		is 502 /v1/join --data-binary "$how"
		error_is 'outcome unknown'
	done
	is 502 /v1/join/history --data-binary 'large 4194305'
	is 200 /v1/join --data-binary 'large 262144'
	is 503 /v1/join --data-binary 'status 503'
	grep -qi '^retry-after' "$T/head"
}

@test "it waits for its certificate, and takes a renewed one without a restart" {
	local pid

	gateway_conf
	authority "$T/ca"
	start_control
	start_gateway
	wait_for 'grep -q "waiting for a certificate" $T/gateway.log' $DEADLINE
	is 000 /v1/cluster
	certificate first
	is 200 /v1/cluster
	serves "$G" "$T/first-cert.pem"
	wait_for 'grep -q "serving with the certificate" $T/gateway.log' $DEADLINE
	pid=$(pid_of gateway)
	certificate second
	serves "$G" "$T/second-cert.pem"
	is 200 /v1/cluster
	# One that is broken, or gone, changes nothing and is said once.
	head -c 300 "$T/first-key.pem" >"$(RUN_DIR)/gateway.pem"
	for _ in 1 2 3; do
		is 200 /v1/cluster
		serves "$G" "$T/second-cert.pem"
	done
	[ "$(gcount 'cannot be used, the earlier one stays')" = 1 ]
	cat "$T/first-key.pem" "$T/second-cert.pem" >"$(RUN_DIR)/gateway.pem"
	is 200 /v1/cluster
	[ "$(gcount "its key is not its certificate's")" = 1 ]
	rm "$(RUN_DIR)/gateway.pem"
	is 200 /v1/cluster
	# The directory itself may be made anew: the daemon's run directory, as systemd does.
	mv "$(RUN_DIR)" "$T/run.old"
	certificate third
	ln "$T/run.old/control.sock" "$(RUN_DIR)/control.sock"
	serves "$G" "$T/third-cert.pem"
	is 200 /v1/cluster
	not gone "$pid"
	not grep -qi 'BEGIN' "$T/gateway.log"
}

@test "slow clients are cut off, the others do not notice" {
	gateway_up
	for how in silent head body; do
		start "$how" /usr/bin/python3 "$CLIENTS" "$G" $how
	done
	is 200 /v1/cluster
	wait_for '[ -s $T/silent.log ] && [ -s $T/head.log ]' 20
	is 200 /v1/cluster
	wait_for '[ -s $T/body.log ]' 20
	for how in silent head body; do
		echo "$how: $(cat "$T/$how.log") s"
	done
	[ "$(cat "$T/silent.log")" -ge 9 ] && [ "$(cat "$T/silent.log")" -le 14 ]
	[ "$(cat "$T/head.log")" -ge 9 ] && [ "$(cat "$T/head.log")" -le 14 ]
	[ "$(cat "$T/body.log")" -ge 14 ] && [ "$(cat "$T/body.log")" -le 20 ]
	not grep join "$T/asked"
}

@test "one address has 32 connections, all have 256, and who asks nothing makes room" {
	local i

	gateway_up
	start one /usr/bin/python3 "$CLIENTS" "$G" hold 40 127.0.0.1
	wait_for 'grep -q "^held" $T/one.log' $DEADLINE
	[ "$(cat "$T/one.log")" = 'held 32' ]
	is 200 /v1/cluster --interface 127.0.0.2
	# After a while those that never asked give way.
	wait_for '[ "$(curl -sk -o /dev/null -w "%{http_code}" "https://'"$G"'/v1/cluster")" = 200 ]' $DEADLINE
	for i in 3 4 5 6 7 8 9 10; do
		start "many$i" /usr/bin/python3 "$CLIENTS" "$G" hold 32 127.0.0.$i
	done
	for i in 3 4 5 6 7 8 9 10; do
		wait_for "grep -q '^held' $T/many$i.log" $DEADLINE
	done
	[ "$(ls "/proc/$(pid_of gateway)/fd" | wc -l)" -lt 280 ]
	wait_for '[ "$(curl -sk -o /dev/null -w "%{http_code}" "https://'"$G"'/v1/cluster")" = 200 ]' $DEADLINE
}

@test "four joins are at work at a time, more are told to come again" {
	local i

	gateway_up
	for i in 1 2 3 4; do
		start "join$i" curl -sk -w '%{http_code}' "https://$G/v1/join" --data-binary hold
	done
	wait_for '[ "$(grep -c "POST /v1/join 4" $T/asked)" = 4 ]' $DEADLINE
	is 503 /v1/join --data-binary x
	error_is unreachable
	grep -qi '^retry-after: 5' "$T/head"
	is 200 /v1/cluster
	is 200 /v1/join/history --data-binary x
	# Whose client has gone is still being worked on.
	kill_hard join1
	is 503 /v1/join --data-binary x
	# Of the others one address has four, and joins have places of their own.
	for i in 5 6 7 8; do
		start "history$i" curl -sk -w '%{http_code}' "https://$G/v1/join/history" --data-binary hold
	done
	wait_for '[ "$(grep -c "POST /v1/join/history 4" $T/asked)" = 4 ]' $DEADLINE
	is 503 /v1/cluster
	is 200 /v1/cluster --interface 127.0.0.2
	: >"$T/go"
	for i in 5 6 7 8; do
		wait_for "grep -qx 'hold200' $T/history$i.log" $DEADLINE
	done
	for i in 2 3 4; do
		wait_for "grep -qx 'hold200' $T/join$i.log" $DEADLINE
	done
	is 200 /v1/join --data-binary x
}

@test "noise is not answered and does no harm" {
	gateway_up
	start noise timeout 60 /usr/bin/python3 "$CLIENTS" "$G" noise
	wait_for '[ -s $T/noise.log ]' 60
	[ "$(cat "$T/noise.log")" -ge 30 ]
	not curl -s --max-time 5 "http://$G/v1/cluster"
	[ "$(curl -sk --tls-max 1.1 -o /dev/null -w '%{http_code}' "https://$G/v1/cluster")" = 000 ]
	is 200 /v1/cluster
	not env LC_ALL=C grep -q $'[\x80-\xff]' "$T/gateway.log"
}

@test "it gives up what it does not need, opens nothing of the cluster's, and ends when told" {
	E2E_BUILD=$(cd "$E2E_SOURCE" && cd "${LOCKSTEP_RELEASE:-build/release}" && pwd)
	gateway_up
	is 200 /v1/cluster
	glog 'sandbox: no_new_privs, no capabilities, seccomp, Landlock ABI [2-9]'
	grep -Px 'NoNewPrivs:\t1' "/proc/$(pid_of gateway)/status"
	grep -Px 'Seccomp:\t2' "/proc/$(pid_of gateway)/status"
	grep -Px 'CapEff:\t0000000000000000' "/proc/$(pid_of gateway)/status"
	grep -Px 'Threads:\t1' "/proc/$(pid_of gateway)/status"
	[ "$(ls -l "/proc/$(pid_of gateway)/fd" | grep -c "$R/var")" = 0 ]
	# Nor did it ever, from the first instant on.
	stop gateway
	glog 'notice: stopped'
	start traced strace -f -e trace=openat,open,openat2 -o "$T/trace" "$E2E_BUILD/lockstep-gateway" --root "$R"
	wait_for '[ "$(grep -c "serving with" $T/traced.log)" = 1 ]' $DEADLINE
	not grep -E "var/lib/lockstep|identity|store/" "$T/trace"
	grep -q 'gateway.pem' "$T/trace"
	kill -TERM "$(pgrep -P "$(pid_of traced)")" # strace passes nothing on
}

@test "it says what is wrong with its words and its configuration" {
	gateway_conf
	run -0 "$E2E_BUILD/lockstep-gateway" --version
	[[ $output == lockstep-gateway\ * ]]
	run -0 "$E2E_BUILD/lockstep-gateway" --help
	[[ $output == usage:* ]]
	run -2 "$E2E_BUILD/lockstep-gateway" --what
	run -2 "$E2E_BUILD/lockstep-gateway" word
	echo 'gateway = { listen = "everywhere"; };' >"$CONF"
	run -3 "$E2E_BUILD/lockstep-gateway" --root "$R"
	[[ $output == *"lockstep.conf:1: gateway.listen 'everywhere'"* ]]
	run -3 env LOCKSTEP_ROOT="$R" "$E2E_BUILD/lockstep-gateway"
	certificate first
	gateway_conf
	start_gateway
	echo "gateway = { listen = \"$G\"; };" >"$CONF"
	run -1 "$E2E_BUILD/lockstep-gateway" --root "$R"
	[[ $output == *"listen at $G: Address already in use"* ]]
}

@test "a socket that was handed over is taken" {
	gateway_conf
	certificate first
	start_control
	start gateway /usr/bin/python3 -c 'import os, socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(16)
os.dup2(os.dup(s.fileno()), 3)
print("handed over", s.getsockname()[1], flush=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])' "$E2E_BUILD/lockstep-gateway" --root "$R"
	wait_for 'grep -q "listening on" $T/gateway.log' $DEADLINE
	G=127.0.0.1:$(sed -n 's/^handed over //p' "$T/gateway.log")
	glog "listening on $G"
	is 200 /v1/cluster
}

# In a mount namespace of its own, in which this machine has user and group. The certificate is the daemon's.
daemon_that_knows_the_user() {
	init --quiet
	{
		cat /etc/passwd
		echo "lockstep-gateway:x:$GATEWAY:$GATEWAY::/:/usr/sbin/nologin"
	} >"$T/passwd"
	{
		cat /etc/group
		echo "lockstep-gateway:x:$GATEWAY:"
	} >"$T/group"
	start lockstepd unshare --mount --propagation private bash -c \
		'mount --bind "$0" /etc/passwd && mount --bind "$1" /etc/group && shift && exec "$@"' \
		"$T/passwd" "$T/group" "$E2E_BUILD/lockstepd" --root "$R"
	wait_for healthy $DEADLINE
	wait_for '[ "$(stat -c "%a %g" $R/run/lockstep/gateway.pem)" = "640 '$GATEWAY'" ]' $DEADLINE
	cp "$R/var/lib/lockstep/identity/ca.pem" "$T/ca-cert.pem"
	chmod 755 "$R/etc" "$R/etc/lockstep"
}
reachable() { # by other users: bats' directories are root's own
	local dir=$(RUN_DIR)

	while [ "$dir" != / ]; do
		chmod o+x "$dir"
		dir=${dir%/*}
		dir=${dir:-/}
	done
}
control_as() { # UID METHOD PATH [BODY-FILE]: the status
	setpriv --reuid "$1" --regid "$1" --clear-groups curl -s -o "$T/answer.$1" -w '%{http_code}' --unix-socket \
		"$(RUN_DIR)/control.sock" -X "$2" ${4:+--data-binary "@$4"} "http://x$3"
}

@test "the daemon lets the gateway's user ask for its four things, and for nothing else" {
	gateway_conf
	daemon_that_knows_the_user
	reachable
	chmod 777 "$T"
	for thing in 'GET /v1/status' 'GET /v1/certs' 'GET /v1/certs/proxy' 'GET /v1/history' 'GET /v1/verify' 'GET /v1/doctor' \
		'POST /v1/change' 'POST /v1/escrow' 'POST /v1/cluster' 'GET /v1/join' 'GET /v1/nothing'; do
		[ "$(control_as $GATEWAY $thing)" = 403 ] || { echo "$thing: let through"; false; }
	done
	for thing in 'GET /v1/cluster' 'POST /v1/join' 'POST /v1/join/history' 'GET /v1/metrics'; do
		[ "$(control_as $GATEWAY $thing)" != 403 ] || { echo "$thing: refused"; false; }
		[ "$(control_as $NOBODY $thing)" = 403 ] || { echo "$thing: let through"; false; }
	done
	of_size 32768 >"$T/long"
	[ "$(control_as $GATEWAY POST /v1/join "$T/long")" != 413 ]
	[ "$(control_as $GATEWAY POST /v1/change "$T/long")" = 403 ]
	[ "$(control_as $NOBODY POST /v1/join "$T/long")" = 413 ]
	of_size 32769 >"$T/long"
	[ "$(control_as $GATEWAY POST /v1/join "$T/long")" = 413 ]
}

@test "as that user it stands before the real daemon, with the certificate that the daemon makes" {
	gateway_conf
	daemon_that_knows_the_user
	reachable
	start_gateway setpriv --reuid $GATEWAY --regid $GATEWAY --clear-groups
	is 200 /v1/cluster
	jq -e '.cluster == "prod"' "$T/body"
	is 200 /metrics
	grep -q '^lockstep_generation' "$T/body"
	grep -qi '^content-type: text/plain; version=0.0.4' "$T/head"
	is 404 /v1/status
	# What the daemon says to a join that is none is what comes out.
	[[ $(ask /v1/join --data-binary '{}') == 4* ]]
	jq -e '.error | (.code | length > 0) and (.message | length > 0)' "$T/body"
	stop lockstepd
	is 503 /v1/cluster
}

@test "as another user it is refused by the real daemon, and says why" {
	gateway_conf
	daemon_that_knows_the_user
	reachable
	start_gateway setpriv --reuid $NOBODY --regid $GATEWAY --clear-groups
	is 403 /v1/cluster
	is 403 /metrics
	[ "$(gcount 'the daemon refuses what is passed on')" = 1 ]
}
