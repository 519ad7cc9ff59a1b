#!/usr/bin/env bats
# The daemon as a service of a real systemd, in its sandbox, with real services to look after. One machine for all tests;
# each leaves it well. Needs root.

MACHINE=$BATS_TEST_DIRNAME/systemd/machine

setup_file() {
	export DIR=$BATS_FILE_TMPDIR
	"$MACHINE" start "$DIR" "$BATS_TEST_DIRNAME/systemd/prepare"
	m systemd-sysusers
	m useradd -M -G lockstep alice
	m useradd -M -G lockstep-ro bob
	m useradd -M eve
}

teardown_file() {
	"$MACHINE" stop "$DIR"
}

m() { "$MACHINE" run "$DIR" "$@"; }
as() { m setpriv --reuid "$1" --regid "$1" --init-groups "${@:2}"; }

# until_ SECONDS COMMAND…: tries until it succeeds.
until_() {
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || { echo "not in time: $*"; return 1; }
		sleep 0.05
	done
}
show() { m systemctl show -P "$1" "${2:-lockstepd}"; }
says() { [[ "$(show StatusText)" == $1 ]]; }
active() { [ "$(show ActiveState)" = active ]; }
healthy() { m lockstep --quiet status >/dev/null 2>&1; }
well() { active && says ready && until_ 5 healthy; }
generation() { m lockstep status -o json | jq .generation; }
served() { # served PORT: the fingerprint of what is served there
	m sh -c "openssl s_client -connect 127.0.0.1:$1 -servername prod.example.com </dev/null 2>/dev/null |
		openssl x509 -noout -fingerprint -sha256" | sed 's/.*=//; s/://g' | tr A-F a-f
}
desired() { m lockstep status -o json | jq -r ".components[] | select(.name == \"$1\").desired"; }
# entries FIELD=VALUE…: the daemon's journal entries, as a JSON array.
entries() { m journalctl --sync && m journalctl -q -o json _SYSTEMD_UNIT=lockstepd.service "$@" | jq -s .; }
drop_in() { # drop_in NAME: unit settings from standard input
	m sh -c "mkdir -p /run/systemd/system/lockstepd.service.d && cat >/run/systemd/system/lockstepd.service.d/$1.conf" &&
		m systemctl daemon-reload && m systemctl restart lockstepd
}
no_drop_in() {
	m rm "/run/systemd/system/lockstepd.service.d/$1.conf" && m systemctl daemon-reload && m systemctl restart lockstepd
}

@test "the unit is in order and exposed by 2.0 at most" {
	m systemd-analyze verify --man=no /lib/systemd/system/lockstepd.service
	m systemd-analyze security --offline=true --threshold=20 /lib/systemd/system/lockstepd.service
}

@test "the gateway's unit is in order and exposed by 1.5 at most" {
	m systemd-analyze verify --man=no /lib/systemd/system/lockstep-gateway.service
	m systemd-analyze security --offline=true --threshold=15 /lib/systemd/system/lockstep-gateway.service
}

@test "before init it is up and says what it waits for; init makes it ready, without an error" {
	m systemctl start lockstepd
	says 'waiting: *not initialised*'
	m lockstep init --cluster prod --fqdn prod.example.com --node n1
	until_ 5 says ready
	active
	m systemctl status --no-pager lockstepd | grep 'Status: "ready"'
	[ "$(entries PRIORITY=3 | jq length)" = 0 ]
	m systemctl start nginx haproxy replica signalled
	until_ 5 m test -e /run/signalled/pid
	well
}

@test "the gateway's group reads the gateway's certificate; to an etcd member's files others only pass" {
	m groupadd -f -r lockstep-gateway
	m groupadd -f -r etcd
	m lockstep etcd-config --member n1 --listen 127.0.0.1 --group etcd --data-dir /var/lib/etcd/n1
	[ "$(m stat -c '%a %U %G' /var/lib/lockstep/etcd/n1/member.pem)" = "640 root etcd" ]
	m systemctl restart lockstepd
	until_ 10 well
	[ "$(m stat -c '%a %U %G' /run/lockstep/gateway.pem)" = "640 root lockstep-gateway" ]
	m setpriv --reuid nobody --regid etcd --clear-groups cat /var/lib/lockstep/etcd/n1/member.pem >/dev/null
	run ! as eve cat /var/lib/lockstep/etcd/n1/member.pem
	run ! as eve ls /var/lib/lockstep
	run ! as eve ls /var/lib/lockstep/identity/.
	m lockstep doctor
}

@test "a drop-in is served by nginx, reloaded over D-Bus, not restarted" {
	before=$(show MainPID nginx)
	m openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=prod.example.com \
		-addext subjectAltName=DNS:prod.example.com,DNS:*.prod.example.com,DNS:internal.prod.example.com,DNS:*.internal.prod.example.com \
		-addext extendedKeyUsage=serverAuth -addext basicConstraints=critical,CA:FALSE -addext keyUsage=digitalSignature \
		-keyout /srv/key -out /srv/cert 2>/dev/null
	want=$(m openssl x509 -in /srv/cert -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)
	m mv /srv/key /etc/lockstep/incoming/cm_key.pem
	m mv /srv/cert /etc/lockstep/incoming/cm_cert.pem
	is_served() { [ "$(served 8443)" = "$want" ]; }
	until_ 5 is_served
	until_ 5 well
	[ "$(show MainPID nginx)" = "$before" ]
	m journalctl -q -u nginx | grep 'Reloaded nginx'
	# nginx -t, the template's validate, ran as a unit of its own too.
	m journalctl -q | grep 'lockstep: validate cm'
}

@test "an exec hook runs as a transient unit, outside the sandbox" {
	m lockstep cert renew api --force
	m grep -q 'written to /usr' /usr/hook-was-here
	m test -d /home/hook
	m cat /srv/hook/ran >"$BATS_TEST_TMPDIR/ran"
	grep -Fx "argument \$HOME and %n and 'words'" "$BATS_TEST_TMPDIR/ran"
	grep -x 'LOCKSTEP_COMPONENT=api' "$BATS_TEST_TMPDIR/ran"
	grep -E '^NoNewPrivs:.0' "$BATS_TEST_TMPDIR/ran"
	grep 'lockstep-run-.*\.service' "$BATS_TEST_TMPDIR/ran"
	# The daemon itself could not have done that.
	run m nsenter --target "$(show MainPID)" --mount touch /usr/daemon-was-here
	[ "$status" -ne 0 ]
	[[ "$output" == *'Read-only file system'* ]]
	m grep -E '^NoNewPrivs:.1' "/proc/$(show MainPID)/status"
	m grep -E '^Seccomp:.2' "/proc/$(show MainPID)/status"
	m grep -E '^CapEff:.0000000000000000$' "/proc/$(show MainPID)/status"
	# Nor can its helper do more than the unit lets it: CHOWN and KILL.
	m sh -c "grep -E '^CapEff:.0000000000000021$' /proc/\$(pgrep -P $(show MainPID))/status"
	entries MESSAGE_ID=5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0f |
		jq -e '.[-1].MESSAGE | test("^sandbox: no_new_privs, no capabilities, seccomp, Landlock ABI [2-9]$")'
}

@test "a failing hook is reported with where its output is" {
	m touch /srv/hook/fail
	run m lockstep cert renew api --force
	[ "$status" -eq 1 ]
	[[ "$output" == *'/usr/local/bin/hook ended with status 3'* ]]
	unit=$(grep -o 'lockstep-run-[0-9a-f]*\.service' <<<"$output" | head -1)
	m journalctl -q -u "$unit" | grep 'hook says no'
	m rm /srv/hook/fail
	m lockstep cert renew api --force
	well
}

@test "a service of another user gets its signal and reads the new key" {
	m lockstep cert renew proxy --force
	same() { m cmp -s /run/signalled/key /etc/lockstep/certs/proxy_key.pem; }
	until_ 5 same
	[ "$(m stat -L -c '%U %G %a' /etc/lockstep/certs/proxy_key.pem)" = 'root www-data 640' ]
}

@test "an RSA key is made in the sandbox and taken by haproxy through its socket" {
	before=$(show MainPID haproxy)
	m lockstep cert renew metrics_exporter --force
	[ "$(m lockstep cert show metrics_exporter -o json | jq -r .key)" = rsa:2048 ]
	[ "$(served 9070)" = "$(desired metrics_exporter)" ]
	[ "$(show MainPID haproxy)" = "$before" ]
}

@test "a socket of another group is named, and open to the daemon once it has the group" {
	run m lockstep cert renew syncer --force
	[ "$status" -ne 0 ]
	[[ "$output" == *'SupplementaryGroups='* ]]
	drop_in group <<<$'[Service]\nSupplementaryGroups=redis'
	m lockstep cert renew syncer --force
	[ "$(served 7379)" = "$(desired syncer)" ]
	well
}

@test "journal entries carry component, generation and a fixed MESSAGE_ID" {
	m lockstep cert renew proxy --force
	m journalctl --sync
	m journalctl -q LOCKSTEP_COMPONENT=proxy -o json | tail -1 >"$BATS_TEST_TMPDIR/entry"
	jq -e --arg g "$(generation)" '.MESSAGE_ID == "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c05" and .PRIORITY == "5" and
		.LOCKSTEP_GENERATION == $g and ._SYSTEMD_UNIT == "lockstepd.service" and (.MESSAGE | test("asked for by root"))' \
		"$BATS_TEST_TMPDIR/entry"
	[ "$(entries LOCKSTEP_COMPONENT=cm MESSAGE_ID=5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c08 | jq length)" -ge 1 ] # the drop-in
}

@test "a rollback is noted in the journal" {
	m sh -c 'cp -L /etc/lockstep/certs/cm_cert.pem /etc/lockstep/certs/cm_key.pem /etc/nginx &&
		sed -i.bak s,/etc/lockstep/certs/,/etc/nginx/, /etc/nginx/nginx.conf && systemctl reload nginx'
	before=$(desired cm)
	run m lockstep cert renew cm --force --replace-installed
	[ "$status" -eq 6 ]
	[ "$(desired cm)" = "$before" ]
	entries MESSAGE_ID=5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c07 |
		jq -e '.[-1] | .LOCKSTEP_COMPONENT == "cm" and .LOCKSTEP_CODE == "rolled back" and .PRIORITY == "3"'
	m sh -c 'mv /etc/nginx/nginx.conf.bak /etc/nginx/nginx.conf && systemctl reload nginx'
	until_ 5 well
}

@test "systemctl reload takes a new template; a bad configuration keeps the old one and says so" {
	m sh -c 'sed s/syncer/sixth/ /usr/share/lockstep/templates/syncer.conf >/etc/lockstep/templates/sixth.conf'
	m systemctl reload lockstepd
	until_ 5 m test -s /etc/lockstep/certs/sixth_cert.pem
	m sh -c 'cp /etc/lockstep/lockstep.conf /srv && echo "no_such_key = 1;" >>/etc/lockstep/lockstep.conf'
	m systemctl reload lockstepd
	says '*the old configuration stays in force*no_such_key*' # at once: the reload is over when systemctl returns
	active
	m cp /srv/lockstep.conf /etc/lockstep/lockstep.conf
	m systemctl reload lockstepd
	well
}

@test "the socket's groups decide who may do what" {
	as alice lockstep cert renew api --force
	[ "$(m lockstep history -n 1 -o json | jq -r '.generations[0].author' | cut -d' ' -f1)" = alice ]
	as bob lockstep status
	run as bob lockstep cert renew api --force
	[ "$status" -eq 3 ]
	run as bob lockstep history
	[ "$status" -eq 3 ]
	run as eve lockstep status
	[ "$status" -eq 3 ]
	[[ "$output" == *lockstep-ro* ]]
	as bob sh -c '! test -r /etc/lockstep/certs/api_key.pem && ! ls /var/lib/lockstep 2>/dev/null'
}

@test "live files that were given away or closed are healed in the sandbox" {
	m chown -R www-data:www-data /etc/lockstep/certs/
	m chmod 000 /etc/lockstep/certs/..data/api_key.pem
	healed() {
		[ -z "$(m find /etc/lockstep/certs/ -maxdepth 0 ! -user root)" ] &&
			[ -z "$(m find /etc/lockstep/certs/..data/ ! -user root)" ] &&
			[ "$(m stat -L -c %a /etc/lockstep/certs/api_key.pem)" = 640 ]
	}
	until_ 3 healed
	[[ "$(m lockstep status || true)" == *"lockstep cert renew --force"* ]] # who had the files may have read them
	m lockstep --quiet cert renew --force --replace-installed
	until_ 5 well
	m systemctl restart lockstepd # earlier generations are removed, although they are another user's
	until_ 5 well
}

@test "a hung daemon is killed by the watchdog and comes back well" {
	drop_in watchdog <<<$'[Service]\nWatchdogSec=1'
	well
	old=$(show MainPID)
	sleep 2 # it lives on only because it is fed
	[ "$(show MainPID)" = "$old" ]
	m kill -STOP "$old"
	back() { [ "$(show NRestarts)" = 1 ] && [ "$(show MainPID)" != "$old" ] && active; }
	until_ 15 back
	until_ 5 well
	m journalctl -q -u lockstepd | grep 'Watchdog timeout'
	no_drop_in watchdog
	well
}

@test "a restart in the middle of a change: it ends within 5 s, and the change is finished" {
	before=$(generation)
	m touch /srv/hook/slow
	m lockstep cert renew api --force >"$BATS_TEST_TMPDIR/renew" 2>&1 3>&- &
	until_ 5 m test -e /srv/hook/began
	start=$(date +%s%3N)
	m systemctl stop lockstepd
	[ $(($(date +%s%3N) - start)) -lt 5000 ]
	[ "$(show Result)" = success ]
	m systemctl start lockstepd
	run wait $!
	[ "$status" -ne 0 ]
	until_ 5 well
	[ "$(generation)" = $((before + 1)) ]
	entries MESSAGE_ID=5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c05 |
		jq -e --arg g "$((before + 1))" '.[-1].MESSAGE | test("generation " + $g + ", which was interrupted: done")'
	m lockstep history verify
}

@test "an idle daemon stops at once, and live files stay" {
	start=$(date +%s%3N)
	m systemctl stop lockstepd
	[ $(($(date +%s%3N) - start)) -lt 1000 ]
	m test -s /etc/lockstep/certs/api_key.pem
	[ "$(served 8443)" != "" ]
	m systemctl start lockstepd
	well
}

@test "a node that cannot be opened holds up nothing and says why; mended, it opens" {
	m mv /var/lib/lockstep/identity /srv/identity
	m systemctl restart lockstepd
	says 'cannot open the node: *identity*'
	active
	m mv /srv/identity /var/lib/lockstep/identity
	until_ 5 well
	[ "$(show NRestarts)" = 0 ]
}

@test "the gateway is a user of its own, waits for its certificate, and is let in by the daemon for its four things" {
	gateway() {
		m curl -s --cacert /var/lib/lockstep/identity/ca.pem --max-time 5 -o /dev/null -w '%{http_code}' "https://localhost:7443$1"
	}
	gateway_says() { [[ "$(show StatusText lockstep-gateway)" == $1 ]]; }
	direct() { # USER PATH
		m setpriv --reuid "$1" --clear-groups curl -s -o /dev/null -w '%{http_code}' \
			--unix-socket /run/lockstep/control.sock "http://x$2"
	}
	m systemctl stop lockstepd # and with it the directory of socket and certificate
	m systemctl start lockstep-gateway
	[ "$(show ActiveState lockstep-gateway)" = active ]
	until_ 5 gateway_says 'waiting for a certificate: *'
	pid=$(show MainPID lockstep-gateway)
	m systemctl start lockstepd
	until_ 10 well
	until_ 10 gateway_says 'ready: listening on 0.0.0.0:7443'
	[ "$(gateway /v1/cluster)" = 200 ]
	[ "$(gateway /metrics)" = 200 ]
	[ "$(gateway /v1/status)" = 404 ]
	[ "$(direct nobody /v1/cluster)" = 403 ]
	[ "$(direct lockstep-gateway /v1/cluster)" = 200 ]
	[ "$(direct lockstep-gateway /v1/status)" = 403 ]
	[ "$(m ps -o uid= -p "$pid" | tr -d ' ')" = "$(m id -u lockstep-gateway)" ]
	m grep -E '^NoNewPrivs:.1' "/proc/$pid/status"
	m grep -E '^Seccomp:.2' "/proc/$pid/status"
	m grep -E '^CapBnd:.0000000000000000$' "/proc/$pid/status"
	m journalctl -q -u lockstep-gateway -o json MESSAGE_ID=5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d09 |
		jq -es '.[-1].MESSAGE | test("^sandbox: no_new_privs, no capabilities, seccomp, Landlock ABI [2-9]$")'
	# The daemon's restart is not its own, nor is its stop.
	m systemctl restart lockstepd
	until_ 10 well
	[ "$(gateway /v1/cluster)" = 200 ]
	m systemctl stop lockstepd
	[ "$(gateway /v1/cluster)" = 503 ]
	m systemctl start lockstepd
	until_ 10 well
	[ "$(gateway /v1/cluster)" = 200 ]
	[ "$(show MainPID lockstep-gateway)" = "$pid" ]
	m systemctl stop lockstep-gateway
	[ "$(show Result lockstep-gateway)" = success ]
}

@test "an etcd member runs as a unit and as a user of its own, from what etcd-config wrote" {
	m systemd-analyze verify --man=no /lib/systemd/system/lockstep-etcd@.service
	m systemd-analyze security --offline=true --threshold=15 /lib/systemd/system/lockstep-etcd@.service
	m sh -c 'id etcd || useradd -r -M -g etcd etcd'
	m systemctl start lockstep-etcd@n1
	until_ 20 m curl -fsS --cacert /var/lib/lockstep/identity/ca.pem --cert /var/lib/lockstep/identity/etcd.pem \
		--key /var/lib/lockstep/identity/etcd.pem https://127.0.0.1:2379/v3/maintenance/status -d '{}'
	[ "$(m ps -o user= -p "$(show MainPID lockstep-etcd@n1)")" = etcd ]
	[ "$(m stat -c '%a %U' /var/lib/etcd)" = "700 etcd" ]
	# The agreement moves there and the daemon goes on; without it doctor names the unit.
	m lockstep store migrate --etcd https://127.0.0.1:2379
	until_ 10 well
	m systemctl stop lockstep-etcd@n1
	run m lockstep doctor -o json
	[ "$(jq -r '.checks[] | select(.state == "wrong" and .name == "engine").hint' <<<"$output")" = "systemctl start lockstep-etcd@n1" ]
	m systemctl start lockstep-etcd@n1
	until_ 20 m lockstep --quiet doctor
}
