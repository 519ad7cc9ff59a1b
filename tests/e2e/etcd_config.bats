#!/usr/bin/env bats
# etcd-config: real etcd members under mutual TLS from the files that it writes, and nothing else; their certificates are
# renewed while they run. And the certificate that the daemon keeps for the gateway.

bats_require_minimum_version 1.7.0
load lib.bash
load etcd.bash

MEMBERS=var/lib/lockstep/etcd
STARTS=60 # seconds for an etcd cluster on a busy machine

etcd_setup() {
	ETCD_DIR=$T
	CA=$R/var/lib/lockstep/identity/ca.pem
	CLIENT=$R/var/lib/lockstep/identity/etcd.pem
}
config_of() { echo "$R/$MEMBERS/$1/etcd.conf.yml"; }
pem_of() { echo "$R/$MEMBERS/$1/member.pem"; }
words() { lockstep etcd-config --member n1 --listen 127.0.0.1 "$@"; }
sans_of() { openssl x509 -in "$1" -noout -ext subjectAltName | sed 1d | tr -d ' '; }
eku_of() { openssl x509 -in "$1" -noout -ext extendedKeyUsage | sed '1d; s/^ *//'; }
whole() { # the key is the certificate's, which is the cluster CA's, which is in the file
	[ "$(openssl pkey -in "$1" -pubout)" = "$(openssl x509 -in "$1" -noout -pubkey)" ]
	openssl verify -x509_strict -CAfile "$CA" "$1" >/dev/null
	[ "$(grep -c 'BEGIN CERTIFICATE' "$1")" = 2 ]
	[ "$(sed -n '/BEGIN CERTIFICATE/,$p' "$1" | awk '/BEGIN/ { n++ } n == 2')" = "$(cat "$CA")" ]
	[ "$(openssl x509 -in "$1" -noout -subject)" = "subject=O = prod" ]
}
served_by() { # MEMBER: what its client port shows
	openssl s_client -connect "127.0.0.1:$(etcd_port "$1" 2)" -cert "$CLIENT" -key "$CLIENT" </dev/null 2>/dev/null |
		openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f
}
b64() { printf %s "$1" | base64; }

@test "three members form a cluster from these files alone, and only its own clients get in" {
	etcd_setup
	node_up
	etcd_plan n1 n2 n3
	for n in n1 n2 n3; do
		etcd_files $n lockstep
		whole "$(pem_of $n)"
		[ "$(stat -c %a "$(pem_of $n)")" = 600 ]
		[ "$(eku_of "$(pem_of $n)")" = "TLS Web Server Authentication, TLS Web Client Authentication" ]
		etcd_start $n "$(config_of $n)"
	done
	whole "$CLIENT"
	[ "$(stat -c %a "$CLIENT")" = 600 ]
	[ "$(eku_of "$CLIENT")" = "TLS Web Client Authentication" ]
	etcd_wait $STARTS "$CA" "$CLIENT"
	[ "$(etcd_call n1 "$CA" "$CLIENT" cluster/member/list '{}' | jq '.members | length')" = 3 ]

	etcd_call n1 "$CA" "$CLIENT" kv/put "{\"key\":\"$(b64 k)\",\"value\":\"$(b64 v)\"}"
	[ "$(etcd_call n3 "$CA" "$CLIENT" kv/range "{\"key\":\"$(b64 k)\"}" | jq -r .kvs[0].value)" = "$(b64 v)" ]

	# Nobody without a certificate, with one of another CA, or with the gateway's, which is for servers.
	run ! curl -sS --max-time 10 --cacert "$CA" "$(etcd_url n1)/v3/kv/range" -d "{\"key\":\"$(b64 k)\"}"
	[[ $output != *kvs* ]]
	authority "$T/other"
	pair "$T/other-client" "$T/other" eku=clientAuth
	cat "$T/other-client-key.pem" "$T/other-client-cert.pem" >"$T/other.pem"
	run ! etcd_call n1 "$CA" "$T/other.pem" kv/range "{\"key\":\"$(b64 k)\"}"
	[[ $output != *kvs* ]]
	run ! etcd_call n1 "$CA" "$R/run/lockstep/gateway.pem" kv/range "{\"key\":\"$(b64 k)\"}"
	[[ $output != *kvs* ]]

	# One stops and comes back; the others go on.
	etcd_stop n2
	etcd_call n1 "$CA" "$CLIENT" kv/put "{\"key\":\"$(b64 k)\",\"value\":\"$(b64 w)\"}"
	etcd_start n2 "$(config_of n2)"
	etcd_wait $STARTS "$CA" "$CLIENT"
	[ "$(etcd_call n2 "$CA" "$CLIENT" kv/range "{\"key\":\"$(b64 k)\"}" | jq -r .kvs[0].value)" = "$(b64 w)" ]
	lockstep doctor
}

@test "a certificate that is due is renewed in place, and etcd shows it without a restart" {
	local release=${LOCKSTEP_RELEASE:-$E2E_SOURCE/build/release} old pid n

	# A sanitizer and faketime do not go together. 300 days ago, without a daemon.
	etcd_setup
	etcd_plan n1 n2
	faketime -f '-300d' "$release/lockstep" --root "$R" --quiet init --cluster prod --fqdn $FQDN --node n1
	for n in n1 n2; do
		etcd_files $n faketime -f '-300d' "$release/lockstep" --root "$R"
		etcd_start $n "$(config_of $n)"
	done
	etcd_wait $STARTS "$CA" "$CLIENT"
	cp "$CLIENT" "$T/client-old.pem"
	old=$(served_by n1)
	pid=$(cat "$T/etcd-n1.pid")
	[ "$old" = "$(fingerprint "$(pem_of n1)")" ]

	start_daemon
	wait_for "[ \$(served_by n1) != $old ]" $DEADLINE
	[ "$(served_by n1)" = "$(fingerprint "$(pem_of n1)")" ]
	[ "$(cat "$T/etcd-n1.pid")" = "$pid" ]
	kill -0 "$pid"
	whole "$(pem_of n1)"
	openssl x509 -in "$(pem_of n1)" -noout -checkend $((360 * 86400))
	run ! cmp -s "$CLIENT" "$T/client-old.pem"
	log_has "the TLS certificate of etcd member n1 was issued"
	log_has "the TLS certificate of this node as a client of etcd was issued"

	# Peers meet with the new ones, too: a member that starts now joins the one that runs.
	etcd_stop n2
	etcd_start n2 "$(config_of n2)"
	etcd_wait $STARTS "$CA" "$CLIENT"
	etcd_call n2 "$CA" "$CLIENT" kv/put "{\"key\":\"$(b64 k)\",\"value\":\"$(b64 v)\"}"

	# What is not due stays.
	old=$(fingerprint "$(pem_of n1)")
	restart_daemon
	[ "$(fingerprint "$(pem_of n1)")" = "$old" ]
}

@test "run again it changes nothing; a new name is a new certificate, another port only another line" {
	etcd_setup
	node_up
	words --san etcd.example.com,10.1.2.3
	[ "$(sans_of "$(pem_of n1)")" = \
		"IPAddress:127.0.0.1,DNS:localhost,IPAddress:0:0:0:0:0:0:0:1,DNS:etcd.example.com,IPAddress:10.1.2.3" ]
	before=$(cd "$R/$MEMBERS/n1" && sha256sum -- *)
	[ "$(json etcd-config --member n1 --listen 127.0.0.1 --san etcd.example.com,10.1.2.3 | jq .issued)" = false ]
	[ "$(cd "$R/$MEMBERS/n1" && sha256sum -- *)" = "$before" ]
	leaf=$(fingerprint "$(pem_of n1)")
	words --san etcd.example.com,10.1.2.3 --client-port 4000 --initial-state existing --data-dir /srv/etcd/n1
	[ "$(fingerprint "$(pem_of n1)")" = "$leaf" ]
	grep -x 'listen-client-urls: "https://127.0.0.1:4000"' "$(config_of n1)"
	grep -x 'initial-cluster-state: "existing"' "$(config_of n1)"
	grep -x 'data-dir: "/srv/etcd/n1"' "$(config_of n1)"
	words
	[ "$(fingerprint "$(pem_of n1)")" != "$leaf" ]
	whole "$(pem_of n1)"
	# The same without a daemon.
	stop lockstepd
	before=$(cd "$R/$MEMBERS/n1" && sha256sum -- *)
	words
	[ "$(cd "$R/$MEMBERS/n1" && sha256sum -- *)" = "$before" ]
}

@test "words that cannot be are refused, and nothing is written" {
	etcd_setup
	node_up
	run -2 lockstep etcd-config --listen 127.0.0.1
	run -2 lockstep etcd-config --member n1
	run -2 words --client-port 0
	run -2 words --initial-state old
	run -3 lockstep etcd-config --member ../n1 --listen 127.0.0.1
	run -3 lockstep etcd-config --member n1 --listen etcd.example.com
	run -3 lockstep etcd-config --member n1 --listen 0.0.0.0
	run -3 words --initial-cluster n2=https://127.0.0.1:2380
	[[ $output == *"'n1' is not in it"* ]]
	run -3 words --initial-cluster n1=http://127.0.0.1:2380
	run -3 words --initial-cluster n1=https://127.0.0.1:2380,n1=https://127.0.0.1:2381
	run -3 words --san 'a b'
	run -3 words --client-port 2380
	run -3 words --data-dir relative
	run -3 words --data-dir $'/x"\nname: y'
	run -3 words --group daemon
	[[ $output == *"hint: "*--data-dir* ]]
	run -1 words --group no-such-group --data-dir /srv/etcd
	[[ $output == *"no group 'no-such-group'"* ]]
	[ ! -e "$R/$MEMBERS/n1" ]
	# What is no wish, and what is one of somebody who may not ask.
	chmod 755 "$T" "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}"
	ask=(curl -sS -o /dev/null -w '%{http_code}' --unix-socket "$R/run/lockstep/control.sock"
		http://localhost/v1/etcd-member -d)
	[ "$("${ask[@]}" '[]')" = 400 ]
	[ "$("${ask[@]}" '{"member": "n1", "listen": ["127.0.0.1"], "dir": "/etc"}')" = 400 ]
	[ "$(setpriv --reuid nobody --regid nogroup --clear-groups "${ask[@]}" \
		'{"member": "n1", "listen": ["127.0.0.1"]}')" = 403 ]
	[ ! -e "$R/$MEMBERS/n1" ]
}

@test "a group's member runs etcd: it reads these files and nothing else of the node" {
	etcd_setup
	chmod 755 "$T" "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}"
	node_up
	etcd_plan n1
	mkdir -m 700 "$T/data"
	chown nobody "$T/data"
	lockstep etcd-config --member n1 --listen 127.0.0.1 --client-port "$(etcd_port n1 2)" \
		--peer-port "$(etcd_port n1 3)" --metrics-port "$(etcd_port n1 4)" --group nogroup --data-dir "$T/data"
	[ "$(stat -c '%a %G' "$(pem_of n1)")" = "640 nogroup" ]
	[ "$(stat -c '%a %G' "$R/$MEMBERS/n1")" = "750 nogroup" ]
	nobody=(setpriv --reuid nobody --regid nogroup --clear-groups)
	etcd_start n1 "$(config_of n1)" "${nobody[@]}"
	etcd_wait $STARTS "$CA" "$CLIENT"
	for file in identity identity/etcd.pem store history.git rejected lock etcd/n1/wish.json; do
		run ! "${nobody[@]}" cat "$R/var/lib/lockstep/$file"
		run ! "${nobody[@]}" ls "$R/var/lib/lockstep/$file/."
	done
	run ! "${nobody[@]}" ls "$R/var/lib/lockstep"
	run ! "${nobody[@]}" ls "$R/$MEMBERS"
	lockstep doctor

	# What systemd does at each start of the daemon is put right at once.
	chmod 700 "$R/var/lib/lockstep"
	restart_daemon
	"${nobody[@]}" cat "$(pem_of n1)" >/dev/null

	# Taken back.
	lockstep etcd-config --member n1 --listen 127.0.0.1 --data-dir "$T/data"
	[ "$(stat -c %a "$(pem_of n1)")" = 600 ]
	run ! "${nobody[@]}" cat "$(config_of n1)"
}

@test "a wish that cannot be read is a problem in status, and hinders no other member" {
	etcd_setup
	node_up
	words
	lockstep etcd-config --member n2 --listen 127.0.0.1
	stop lockstepd
	echo '{"member": "n3", "listen": ["127.0.0.1"]}' >"$R/$MEMBERS/n1/wish.json"
	rm "$(pem_of n2)"
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
	wait_for "json status | jq -e '.problems[] | select(contains(\"etcd member n1\"))'" $DEADLINE
	log_has "cannot be renewed: the certificate of etcd member n1"
	whole "$(pem_of n2)"
	words
	restart_daemon # healthy again
}

@test "the store in a member of our own: its certificate is made without the store and without the daemon" {
	etcd_setup
	node_up
	etcd_plan n1
	etcd_files n1 lockstep
	etcd_start n1 "$(config_of n1)"
	etcd_wait $STARTS "$CA" "$CLIENT"
	lockstep store migrate --etcd "$(etcd_url n1)"
	lockstep cert renew proxy --force
	is_generation 2

	# All is off but the daemon, then the daemon too: nothing needs etcd to make what etcd needs.
	etcd_stop n1
	rm "$(pem_of n1)"
	etcd_files n1 lockstep
	whole "$(pem_of n1)"
	stop lockstepd
	rm "$(pem_of n1)"
	etcd_files n1 lockstep
	whole "$(pem_of n1)"
	rm "$(pem_of n1)"
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
	wait_for "[ -f '$(pem_of n1)' ]" $DEADLINE # before there is an etcd to talk to
	etcd_start n1 "$(config_of n1)"
	wait_for healthy $STARTS
	lockstep cert renew proxy --force
	is_generation 3
}

@test "an operator's own certificate for etcd is left alone" {
	local port=

	etcd_setup
	node_up
	authority "$T/own"
	pair "$T/own-etcd" "$T/own" san=IP:127.0.0.1
	pair "$T/own-client" "$T/own" eku=clientAuth
	port=$(etcd_free_port)
	start own-etcd etcd --data-dir "$T/own-data" --listen-client-urls "https://127.0.0.1:$port" \
		--advertise-client-urls "https://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$(etcd_free_port)" \
		--client-cert-auth --trusted-ca-file "$T/own-cert.pem" --cert-file "$T/own-etcd-cert.pem" \
		--key-file "$T/own-etcd-key.pem"
	wait_for "lockstep store migrate --etcd https://127.0.0.1:$port --etcd-ca '$T/own-cert.pem' \
		--etcd-cert '$T/own-client-cert.pem' --etcd-key '$T/own-client-key.pem'" $STARTS
	before=$(sha256sum "$CLIENT")
	restart_daemon
	words
	[ "$(sha256sum "$CLIENT")" = "$before" ]
	lockstep cert renew proxy --force
}

@test "the gateway's certificate is kept: for servers only, with the machine's names and its address" {
	etcd_setup
	gateway=$R/run/lockstep/gateway.pem
	mkdir -p "${CONF%/*}"
	echo 'gateway = { listen = "127.0.0.1:0"; address = "gateway.example.com:7443"; };' >"$CONF"
	node_up
	wait_for "[ -f $gateway ]" $DEADLINE
	whole "$gateway"
	[ "$(eku_of "$gateway")" = "TLS Web Server Authentication" ]
	for name in DNS:gateway.example.com "DNS:$FQDN" DNS:localhost IPAddress:127.0.0.1 IPAddress:0:0:0:0:0:0:0:1; do
		[[ ",$(sans_of "$gateway")," == *",$name,"* ]]
	done
	[ "$(stat -c %a "$gateway")" = "$(getent group lockstep-gateway >/dev/null && [ "$(id -u)" = 0 ] && echo 640 || echo 600)" ]
	leaf=$(fingerprint "$gateway")
	restart_daemon
	[ "$(fingerprint "$gateway")" = "$leaf" ]
	# Whoever could read it may have its key.
	chmod 644 "$gateway"
	restart_daemon
	[ "$(fingerprint "$gateway")" != "$leaf" ]
	whole "$gateway"
}
