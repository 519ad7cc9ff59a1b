# What the end-to-end tests share. Each test has a root of its own ($R) below its own directory ($T),
# ports that were free a moment ago, and starts every program in a session of its own, so that
# teardown ends all of it, whatever happened.
#
# LOCKSTEP_BUILD names the build under test (default build/san). A sanitizer's finding fails the
# test that provoked it.

bats_require_minimum_version 1.7.0

E2E_SOURCE=$(cd "${BATS_TEST_DIRNAME:?}/../.." && pwd)
E2E_BUILD=$(cd "$E2E_SOURCE" && cd "${LOCKSTEP_BUILD:-build/san}" && pwd)
FQDN=prod.example.com
SANS="DNS:$FQDN,DNS:*.$FQDN,DNS:internal.$FQDN,DNS:*.internal.$FQDN"
DEADLINE=20 # seconds for what takes milliseconds on an idle machine

setup() {
	T=$BATS_TEST_TMPDIR
	R=$T/root
	PIDS=$T/pids
	CERTS=$R/etc/lockstep/certs
	INCOMING=$R/etc/lockstep/incoming
	REJECTED=$R/var/lib/lockstep/rejected
	TEMPLATES=$R/etc/lockstep/templates
	CONF=$R/etc/lockstep/lockstep.conf
	export R T # for what wait_for runs in a shell of its own
	export ASAN_OPTIONS="exitcode=86:log_path=$T/asan:detect_leaks=1"
	export UBSAN_OPTIONS="exitcode=86:halt_on_error=1:print_stacktrace=1:log_path=$T/asan"
	unset LOCKSTEP_ROOT LOCKSTEP_CONFIG
	: >"$PIDS"
	ships "$R"
}

teardown() {
	local failed=0

	stop_all || failed=1
	[ ! -f "$T/elsewhere" ] || rm -rf "$(cat "$T/elsewhere")"
	if compgen -G "$T/asan*" >/dev/null; then
		cat "$T"/asan*
		failed=1
	fi
	if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -f "$T/lockstepd.log" ]; then
		echo "--- lockstepd:"
		tail -n 40 "$T/lockstepd.log"
	fi
	return $failed
}

# Templates and policies as an installation has them.
ships() {
	mkdir -p "$1/usr/share/lockstep"
	cp -r "$E2E_SOURCE/templates" "$E2E_SOURCE/policies" "$1/usr/share/lockstep/"
}

# Programs. Leaks are not looked for under strace: LeakSanitizer does not work there.
lockstep() { "$E2E_BUILD/lockstep" --root "$R" "$@"; }
json() { "$E2E_BUILD/lockstep" --root "$R" -o json "$@"; }
as_rladmin() { LOCKSTEP_ROOT=$R "$E2E_BUILD/rladmin" "$@"; }
under_strace() { ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 strace -f -qq -o /dev/null "$@"; }

# Polls, with a deadline. Nothing else sleeps to wait for something.
wait_for() { # CONDITION SECONDS
	local end=$((${EPOCHREALTIME/[.,]/} + $2 * 1000000))

	until eval "$1" >/dev/null 2>&1; do
		if [ "${EPOCHREALTIME/[.,]/}" -ge "$end" ]; then
			echo "not within $2 s: $1"
			return 1
		fi
		sleep 0.05
	done
}

# Copies a file as over a slow line: here the sleep is what is tested.
trickle() { # FROM TO
	local line

	while read -r line; do
		echo "$line"
		sleep 0.05
	done <"$1" >"$2"
}

export LOCKSTEP_PORTS=${LOCKSTEP_PORTS:-$BATS_RUN_TMPDIR/ports} # etcd.bash takes its own from there too

# A port nobody listens on, below those that the kernel gives to clients; not handed out twice, by
# whichever test of the run.
free_port() {
	local port hex

	mkdir -p "$LOCKSTEP_PORTS"
	for _ in {1..200}; do
		port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		hex=$(printf ':%04X 0' "$port")
		grep -qsi "$hex" /proc/net/tcp /proc/net/tcp6 && continue
		mkdir "$LOCKSTEP_PORTS/$port" 2>/dev/null || continue
		echo "$port"
		return 0
	done
	return 1
}

# Starts a program in a session of its own; its output is in $T/NAME.log, its number in $T/NAME.pid.
start() { # NAME COMMAND…
	local name=$1

	shift
	setsid "$@" >>"$T/$name.log" 2>&1 </dev/null 3>&- &
	echo $! >"$T/$name.pid"
	echo $! >>"$PIDS"
}

pid_of() { cat "$T/$1.pid"; }
gone() { ! kill -0 "$1" 2>/dev/null || [ "$(ps -o stat= -p "$1" | cut -c1)" = Z ]; }

# Ends one program: TERM, and KILL to its session if that does not help (which is a failure).
stop() { # NAME
	local pid

	pid=$(pid_of "$1")
	kill -TERM "$pid" 2>/dev/null || return 0
	wait_for "gone $pid" "$DEADLINE"
}

kill_hard() { # NAME
	kill -KILL -- "-$(pid_of "$1")" 2>/dev/null || true
	wait_for "gone $(pid_of "$1")" "$DEADLINE"
}

stop_all() {
	local pid failed=0

	: >"$T/go" # hooks that wait
	while read -r pid; do
		kill -TERM "$pid" 2>/dev/null || true
	done <"$PIDS"
	while read -r pid; do
		wait_for "gone $pid" "$DEADLINE" || failed=1
		kill -KILL -- "-$pid" 2>/dev/null || true
	done <"$PIDS"
	return $failed
}

# The node.
init() { lockstep init --cluster prod --fqdn $FQDN --node n1 "$@"; }
healthy() { lockstep --quiet status; }
start_daemon() {
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R" "$@"
	wait_for healthy "$DEADLINE"
}
restart_daemon() {
	stop lockstepd
	start_daemon
}
node_up() {
	init --quiet
	start_daemon
}
generation() { json history -n 1 | jq .generations[0].generation; }
is_generation() { [ "$(generation)" = "$1" ]; }
log_has() { grep -qE -- "$1" "$T/lockstepd.log"; }

# What stands on disk, without asking lockstep.
fingerprint() { openssl x509 -in "$1" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f; }
key_id() { openssl pkey -in "$1" -pubout 2>/dev/null | sha256sum; }
cert_id() { openssl x509 -in "$1" -pubkey -noout 2>/dev/null | sha256sum; }
pair_matches() { [ "$(key_id "$CERTS/$1_key.pem")" = "$(cert_id "$CERTS/$1_cert.pem")" ]; }
live_is() { # COMPONENT CERTIFICATE-FILE
	[ "$(fingerprint "$CERTS/$1_cert.pem")" = "$(fingerprint "$2")" ] && pair_matches "$1"
}
state_of_files() { # everything that a refused change must leave alone
	readlink "$CERTS/..data"
	(cd "$CERTS" && sha256sum ./*.pem ca/*.pem)
	git --git-dir="$R/var/lib/lockstep/history.git" rev-parse main
}
all_pairs_match() {
	local file

	for file in "$CERTS"/*_cert.pem; do
		file=${file##*/}
		pair_matches "${file%_cert.pem}" || return 1
	done
}

# Certificates of a CA. `authority DIR/NAME [DIR/PARENT]`, then `pair DIR/NAME DIR/CA [word=value…]`:
# NAME-cert.pem and NAME-key.pem. Words: key=ec|rsa:BITS|ed25519, san=…, eku=…, ku=…, ca=TRUE,
# from=YYMMDDhhmmssZ, to=…, md=…
new_key() { # ALGORITHM FILE
	case $1 in
	ec) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$2" ;;
	rsa:*) openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:${1#rsa:}" -out "$2" 2>/dev/null ;;
	*) openssl genpkey -algorithm "$1" -out "$2" ;;
	esac
}

# `openssl ca` signs with free dates, and also what nobody should sign.
sign() { # REQUEST CERT CA EXTENSION-FILE FROM TO DIGEST
	local db=$3.db

	mkdir -p "$db"
	: >"$db/index"
	cat >"$db/conf" <<-END
		[ca]
		default_ca = d
		[d]
		database = $db/index
		new_certs_dir = $db
		rand_serial = yes
		policy = p
		unique_subject = no
		[p]
		commonName = supplied
	END
	openssl ca -batch -notext -config "$db/conf" -cert "$3-cert.pem" -keyfile "$3-key.pem" \
		-in "$1" -out "$2" -extfile "$4" -startdate "$5" -enddate "$6" -md "$7" 2>"$db/log" ||
		{ cat "$db/log"; return 1; }
}

when() { date -u -d "$1" +%y%m%d%H%M%SZ; }

authority() { # NAME [PARENT]
	new_key ec "$1-key.pem"
	if [ $# = 1 ]; then
		openssl req -x509 -new -key "$1-key.pem" -subj "/CN=${1##*/}" -days 3650 -out "$1-cert.pem" \
			-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
		return
	fi
	printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n' >"$1.ext"
	openssl req -new -key "$1-key.pem" -subj "/CN=${1##*/}" -out "$1.csr"
	sign "$1.csr" "$1-cert.pem" "$2" "$1.ext" "$(when -1day)" "$(when +5years)" sha256
}

pair() { # NAME CA [word=value…]
	local name=$1 ca=$2 key=ec san=$SANS eku=serverAuth,clientAuth ku=digitalSignature is_ca=FALSE
	local from to md=sha256 word

	from=$(when -1hour)
	to=$(when +90days)
	shift 2
	for word; do
		case $word in
		key=*) key=${word#*=} ;; san=*) san=${word#*=} ;; eku=*) eku=${word#*=} ;;
		ku=*) ku=${word#*=} ;; ca=*) is_ca=${word#*=} ;; from=*) from=${word#*=} ;;
		to=*) to=${word#*=} ;; md=*) md=${word#*=} ;;
		*) return 1 ;;
		esac
	done
	new_key "$key" "$name-key.pem"
	openssl req -new -key "$name-key.pem" -subj "/CN=$FQDN" -out "$name.csr"
	{
		echo "basicConstraints=critical,CA:$is_ca"
		echo "keyUsage=critical,$ku"
		[ -z "$san" ] || echo "subjectAltName=$san"
		[ -z "$eku" ] || echo "extendedKeyUsage=$eku"
	} >"$name.ext"
	sign "$name.csr" "$name-cert.pem" "$ca" "$name.ext" "$from" "$to" "$md"
}

# What an endpoint shows.
served() { # HOST:PORT [NAME]
	openssl s_client -connect "$1" -servername "${2:-$FQDN}" </dev/null 2>/dev/null |
		openssl x509 -noout -fingerprint -sha256 2>/dev/null | sed 's/.*=//; s/://g' | tr A-F a-f
}
serves() { # HOST:PORT CERTIFICATE-FILE
	[ "$(served "$1")" = "$(fingerprint "$2")" ]
}

# A template: the shipped one's issuing part, and what the test says about the service.
template() { # COMPONENT [LINES]
	mkdir -p "$TEMPLATES"
	cat >"$TEMPLATES/$1.conf" <<-END
		component = "$1";
		subject = { CN = "\${fqdn}"; O = "\${cluster}"; };
		san = ( "DNS:\${fqdn}", "DNS:*.\${fqdn}", "DNS:internal.\${fqdn}", "DNS:*.internal.\${fqdn}" );
		key = "${KEY_SPEC:-ec:P-256}";
		days = 365;
		eku = ( "serverAuth", "clientAuth" );
		${2:-}
	END
}
script() { # FILE: an executable from standard input
	{
		echo '#!/bin/bash'
		cat
	} >"$1"
	chmod 755 "$1"
}

# Debian's services, each with the live files of a component.
LOCALHOST=127.0.0.1
redis_up() { # COMPONENT: TLS on $REDIS, plain on a UNIX socket
	REDIS=$LOCALHOST:$(free_port)
	REDIS_SOCKET=$T/redis.sock
	start redis redis-server --bind $LOCALHOST --port 0 --unixsocket "$REDIS_SOCKET" --dir "$T" \
		--save '' --appendonly no --tls-port "${REDIS#*:}" --tls-auth-clients no \
		--tls-cert-file "$CERTS/$1_cert.pem" --tls-key-file "$CERTS/$1_key.pem" \
		--tls-ca-cert-file "$CERTS/ca/$1.pem"
	wait_for "serves $REDIS '$CERTS/$1_cert.pem'" $DEADLINE
}

nginx_conf() { # COMPONENT HOST:PORT [COMPONENT HOST:PORT…]
	cat <<-END
		daemon off;
		user $(id -un);
		worker_processes 2;
		pid $T/nginx.pid;
		error_log $T/nginx.err;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path $T/nginx.body;
			proxy_temp_path $T/nginx.proxy;
			fastcgi_temp_path $T/nginx.fastcgi;
			uwsgi_temp_path $T/nginx.uwsgi;
			scgi_temp_path $T/nginx.scgi;
	END
	while [ $# -gt 0 ]; do
		cat <<-END
			server {
				listen $2 ssl;
				ssl_certificate $CERTS/$1_cert.pem;
				ssl_certificate_key $CERTS/$1_key.pem;
				location / { return 200 "$1\n"; }
			}
		END
		shift 2
	done
	echo "}"
}
nginx_up() { # as nginx_conf
	nginx_conf "$@" >"$T/nginx.conf"
	start nginx-master nginx -p "$T" -e "$T/nginx.err" -c "$T/nginx.conf"
	while [ $# -gt 0 ]; do
		wait_for "serves $2 '$CERTS/$1_cert.pem'" $DEADLINE
		shift 2
	done
}

haproxy_up() { # COMPONENT: on $HAPROXY, with a runtime socket
	HAPROXY=$LOCALHOST:$(free_port)
	HAPROXY_SOCKET=$T/haproxy.sock
	cat >"$T/haproxy.cfg" <<-END
		global
			stats socket $HAPROXY_SOCKET mode 600 level admin
		defaults
			mode http
			timeout client 60s
			timeout connect 5s
			timeout server 60s
		frontend tls
			bind $HAPROXY ssl crt $CERTS/$1.pem
			http-request return status 200
	END
	start haproxy haproxy -db -f "$T/haproxy.cfg"
	wait_for "serves $HAPROXY '$CERTS/$1_cert.pem'" $DEADLINE
}

# Has the daemon, or an init to come, use these templates and short times.
services_conf() {
	mkdir -p "${CONF%/*}"
	echo "rotation = { served_s = ${1:-2}; }; intake = { settle_ms = 100; patience_s = 5; };" >"$CONF"
}
adopt() { # the templates as they are now
	kill -HUP "$(pid_of lockstepd)"
	wait_for "[ \$(grep -c reread '$T/lockstepd.log') = ${1:-1} ]" $DEADLINE
}
