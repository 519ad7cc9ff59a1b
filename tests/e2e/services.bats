# Debian's redis, nginx and haproxy take what lockstep puts in force, and the cluster goes back when
# one of them does not.
load lib

setup_file() {
	local d=$BATS_FILE_TMPDIR pair

	load lib
	authority "$d/root"
	authority "$d/sub" "$d/root"
	for pair in a b c; do
		pair "$d/$pair" "$d/sub"
		cat "$d/$pair-cert.pem" "$d/sub-cert.pem" >"$d/$pair-chain.pem"
	done
}

D() { echo "$BATS_FILE_TMPDIR/$1"; }
set_pair() { lockstep cert set "$1" --cert "$(D "$2-chain.pem")" --key "$(D "$2-key.pem")" "${@:3}"; }
causes() { json history | jq -r '.generations | map(.cause) | join(" ")'; }
component_served() { json status | jq -r ".components[] | select(.name == \"$1\") | .served"; }
serve() { echo "serve = ( { endpoint = \"$1\"; name = \"\${fqdn}\"; } );"; }

# A node whose proxy is redis; `reload` and `serve` are told by the test where they differ.
with_redis() { # [RELOAD]
	services_conf
	init --quiet
	redis_up proxy
	template proxy "reload = ${1:-( { redis = \"unix:$REDIS_SOCKET\"; \} )}; $(serve "$REDIS")"
	start_daemon
}

# A node whose cm and api are nginx, with its own judgement before the vote.
with_nginx() { # [VALIDATE]
	local name

	services_conf 3
	init --quiet
	CM=$LOCALHOST:$(free_port)
	API=$LOCALHOST:$(free_port)
	nginx_up cm "$CM" api "$API"
	for name in cm api; do
		template $name "validate = ${1:-[ \"/usr/sbin/nginx\", \"-t\", \"-p\", \"$T\", \"-e\", \"$T/nginx.err\", \"-c\", \"$T/nginx.conf\" ]};
			reload = ( { pidfile = \"$T/nginx.pid\"; signal = \"HUP\"; } );
			$(serve "$([ $name = cm ] && echo "$CM" || echo "$API")")"
	done
	start_daemon
}

# The two nodes' worth of names, for clients that look names up.
as_fqdn() {
	printf '127.0.0.1 localhost %s\n' "$FQDN" >"$T/hosts"
	unshare -m --propagation private bash -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$T/hosts" "$@"
}

@test "redis serves the generated certificate, and redis-cli connects as the guide says" {
	with_redis
	[ "$(redis-cli --tls --cacert "$CERTS/proxy_cert.pem" -h $LOCALHOST -p "${REDIS#*:}" --sni $FQDN ping)" = PONG ]
	[ "$(as_fqdn redis-cli --tls --cacert "$CERTS/proxy_cert.pem" -h $FQDN -p "${REDIS#*:}" ping)" = PONG ]
	[ "$(as_fqdn redis-cli --tls --cacert "$CERTS/ca/proxy.pem" -h $FQDN -p "${REDIS#*:}" ping)" = PONG ]
	# Another component's certificate is not trusted by mistake.
	run ! redis-cli --tls --cacert "$CERTS/api_cert.pem" -h $LOCALHOST -p "${REDIS#*:}" --sni $FQDN ping
	openssl s_client -connect "$REDIS" -servername $FQDN -CAfile "$CERTS/proxy_cert.pem" \
		-verify_hostname $FQDN -verify_return_error </dev/null
	[ "$(component_served proxy)" = "$(fingerprint "$CERTS/proxy_cert.pem")" ]
	# The client's half of the guide: a certificate of the cluster's for mutual TLS.
	redis-cli -s "$REDIS_SOCKET" config set tls-auth-clients yes
	[ "$(redis-cli --tls --cacert "$CERTS/proxy_cert.pem" --cert "$CERTS/proxy_cert.pem" \
		--key "$CERTS/proxy_key.pem" -h $LOCALHOST -p "${REDIS#*:}" ping)" = PONG ]
}

@test "redis: a CA-signed drop-in is served in seconds, and undone by rollback" {
	local first

	with_redis
	first=$(fingerprint "$CERTS/proxy_cert.pem")
	cp "$(D a-key.pem)" "$INCOMING/proxy_key.pem"
	cp "$(D a-chain.pem)" "$INCOMING/proxy_cert.pem"
	wait_for "serves $REDIS '$(D a-cert.pem)'" 5
	wait_for healthy 5
	[ "$(component_served proxy)" = "$(fingerprint "$(D a-cert.pem)")" ]
	[ "$(redis-cli --tls --cacert "$(D root-cert.pem)" -h $LOCALHOST -p "${REDIS#*:}" --sni $FQDN ping)" = PONG ]
	set_pair proxy b
	serves "$REDIS" "$(D b-cert.pem)"
	lockstep rollback 1
	[ "$(served "$REDIS")" = "$first" ]
	lockstep rollback 2
	serves "$REDIS" "$(D a-cert.pem)"
	[ "$(causes)" = "rollback rollback operator drop-in init" ]
	lockstep history verify
	healthy
}

@test "redis over TLS and with a password" {
	services_conf
	init --quiet
	redis_up proxy
	redis-cli -s "$REDIS_SOCKET" config set requirepass 'a secret'
	(umask 077 && echo 'a secret' >"$T/password")
	template proxy "reload = ( { redis = \"$REDIS\"; tls = true; password_file = \"$T/password\"; } ); $(serve "$REDIS")"
	start_daemon
	set_pair proxy a
	serves "$REDIS" "$(D a-cert.pem)"
	echo wrong >"$T/password"
	run -6 set_pair proxy b
	[[ $output == *"shows"*"wanted"* ]]
	! grep -q wrong <<<"$output"
	serves "$REDIS" "$(D a-cert.pem)"
}

@test "nginx serves cm and api, and both change together" {
	with_nginx
	[ "$(curl -sS --cacert "$CERTS/cm_cert.pem" --resolve "$FQDN:${CM#*:}:$LOCALHOST" "https://$FQDN:${CM#*:}/")" = cm ]
	[ "$(curl -sS --cacert "$CERTS/api_cert.pem" --resolve "internal.$FQDN:${API#*:}:$LOCALHOST" "https://internal.$FQDN:${API#*:}/")" = api ]
	mkdir "$T/dir"
	for name in cm api; do
		cp "$(D a-chain.pem)" "$T/dir/${name}_cert.pem"
		cp "$(D a-key.pem)" "$T/dir/${name}_key.pem"
	done
	lockstep cert set --from "$T/dir"
	serves "$CM" "$(D a-cert.pem)"
	serves "$API" "$(D a-cert.pem)"
	[ "$(curl -sS --cacert "$(D root-cert.pem)" --resolve "$FQDN:${CM#*:}:$LOCALHOST" "https://$FQDN:${CM#*:}/")" = cm ]
	cat "$(D b-key.pem)" "$(D b-chain.pem)" >"$INCOMING/cm.pem"
	wait_for "serves $CM '$(D b-cert.pem)'" 5
	wait_for healthy 5
	serves "$API" "$(D a-cert.pem)"
	[ "$(pid_of nginx-master)" = "$(cat "$T/nginx.pid")" ]
}

@test "haproxy takes a sixth component's certificate through its runtime socket" {
	services_conf
	template edge
	init --quiet
	haproxy_up edge
	template edge "validate = [ \"/usr/sbin/haproxy\", \"-c\", \"-f\", \"$T/haproxy.cfg\" ];
		reload = ( { haproxy_socket = \"$HAPROXY_SOCKET\"; } ); $(serve "$HAPROXY")"
	start_daemon
	curl -sS --cacert "$CERTS/edge_cert.pem" --resolve "$FQDN:${HAPROXY#*:}:$LOCALHOST" "https://$FQDN:${HAPROXY#*:}/"
	set_pair edge a
	serves "$HAPROXY" "$(D a-cert.pem)"
	curl -sS --cacert "$(D root-cert.pem)" --resolve "$FQDN:${HAPROXY#*:}:$LOCALHOST" "https://$FQDN:${HAPROXY#*:}/"
	lockstep cert renew edge --force --replace-installed
	serves "$HAPROXY" "$CERTS/edge_cert.pem"
	lockstep rollback 2
	serves "$HAPROXY" "$(D a-cert.pem)"
	healthy
}

@test "a service that never hears of the change: exit 6, all is as before, history says so" {
	local before

	with_redis '( { exec = [ "/bin/true" ]; } )'
	before=$(fingerprint "$CERTS/proxy_cert.pem")
	run -6 --separate-stderr set_pair proxy a
	[[ $stderr == "lockstep: "*"$REDIS"*"wanted"*hint:* ]]
	[ "$(fingerprint "$CERTS/proxy_cert.pem")" = "$before" ]
	all_pairs_match
	[ "$(served "$REDIS")" = "$before" ]
	[ "$(causes)" = "automatic-rollback operator init" ]
	[ "$(json status | jq -r '.last.result')" = "rolled back" ]
	log_has 'rolled back'
	lockstep history verify
	healthy
	run -6 --separate-stderr json cert set proxy --cert "$(D a-chain.pem)" --key "$(D a-key.pem)"
	jq -e '.error.code and (.error.message | test("wanted"))' <<<"$output"
	is_generation 5
	# The same as a drop-in ends in rejected/.
	cp "$(D a-key.pem)" "$INCOMING/proxy_key.pem"
	cp "$(D a-chain.pem)" "$INCOMING/proxy_cert.pem"
	wait_for 'grep -q wanted "$REJECTED"/*-proxy/reason.txt' 10
	! grep -rq 'PRIVATE KEY' "$REJECTED"
	[ "$(served "$REDIS")" = "$before" ]
	wait_for healthy 5
	# When the service is told, it takes it.
	template proxy "reload = ( { redis = \"unix:$REDIS_SOCKET\"; } ); $(serve "$REDIS")"
	adopt
	set_pair proxy a
	serves "$REDIS" "$(D a-cert.pem)"
	healthy
}

@test "one of two services does not take it: both components go back" {
	local cm api

	with_nginx
	cm=$(served "$CM")
	api=$(served "$API")
	# api's endpoint belongs to a second nginx, which no signal reaches.
	template api "$(serve "$API")"
	sed -i '/reload/d' "$TEMPLATES/api.conf"
	nginx_conf cm "$CM" >"$T/nginx.conf"
	kill -HUP "$(cat "$T/nginx.pid")"
	wait_for "! served $API | grep -q ." $DEADLINE
	sed "s/nginx\.pid/second.pid/; s/nginx\.err/second.err/" <(nginx_conf api "$API") >"$T/second.conf"
	start second nginx -p "$T" -e "$T/second.err" -c "$T/second.conf"
	wait_for "serves $API '$CERTS/api_cert.pem'" $DEADLINE
	adopt
	mkdir "$T/dir"
	for name in cm api; do
		cp "$(D a-chain.pem)" "$T/dir/${name}_cert.pem"
		cp "$(D a-key.pem)" "$T/dir/${name}_key.pem"
	done
	run -6 lockstep cert set --from "$T/dir"
	[[ $output == *"$API"* ]]
	[ "$(fingerprint "$CERTS/cm_cert.pem")" = "$cm" ]
	[ "$(fingerprint "$CERTS/api_cert.pem")" = "$api" ]
	[ "$(served "$API")" = "$api" ]
	wait_for "[ \$(served $CM) = $cm ]" 5 # it had taken the new one
	[ "$(causes)" = "automatic-rollback operator init" ]
}

@test "nginx that cannot reload keeps the old one, and the cluster goes back to it" {
	local before

	with_nginx '[ "/bin/true" ]'
	before=$(served "$CM")
	echo nonsense >>"$T/nginx.conf"
	run -6 set_pair cm a
	[ "$(fingerprint "$CERTS/cm_cert.pem")" = "$before" ]
	pair_matches cm
	[ "$(served "$CM")" = "$before" ]
	[ "$(causes)" = "automatic-rollback operator init" ]
	healthy
}

@test "an endpoint that was down before the change is a warning, not a rollback" {
	with_redis '( { exec = [ "/bin/true" ]; } )'
	stop redis
	run -0 --separate-stderr set_pair proxy a
	[[ $stderr == *warning:*"$REDIS"* ]]
	live_is proxy "$(D a-cert.pem)"
	[ "$(json history -n 1 | jq .generations[0].generation)" = 2 ]
	run -1 lockstep status
	[[ $output == *"$REDIS"* ]]
}

@test "a service that is down cannot fail a change by not reloading, and what it serves later is right" {
	with_redis "( { exec = [ \"/bin/false\" ]; } )"
	stop redis
	run -0 --separate-stderr set_pair proxy a
	[[ $stderr == *"not serving before"* ]]
	[ "$(json status | jq -r .last.result)" = done ]
}

@test "validate sees the staged files at the live paths, and its no changes nothing" {
	with_nginx
	state_of_files >"$T/before"
	echo nonsense >>"$T/nginx.conf"
	run -3 --separate-stderr set_pair cm a
	[[ $stderr == "lockstep: "*validate*nginx* ]]
	[[ $stderr == *emerg*"test failed"* ]]
	state_of_files | diff "$T/before" -
	serves "$CM" "$CERTS/cm_cert.pem"
	[ "$(causes)" = init ]
	healthy
	# What the command reads at the live path and at the path that it is told.
	script "$T/look" <<-END
		openssl x509 -in $CERTS/cm_cert.pem -noout -fingerprint -sha256 >$T/at-live
		openssl x509 -in "\$LOCKSTEP_CERT_PATH" -noout -fingerprint -sha256 >$T/at-told
		openssl pkey -in "\$LOCKSTEP_KEY_PATH" -noout && env >$T/env
	END
	template cm "validate = [ \"$T/look\" ];"
	adopt
	set_pair cm a
	openssl x509 -in "$(D a-cert.pem)" -noout -fingerprint -sha256 | tee "$T/want" | diff - "$T/at-live"
	diff "$T/want" "$T/at-told"
	grep -qx LOCKSTEP_EVENT=validate "$T/env"
	grep -qx LOCKSTEP_COMPONENT=cm "$T/env"
	grep -qx LOCKSTEP_GENERATION=2 "$T/env"
	grep -qx LOCKSTEP_NODE=n1 "$T/env"
	grep -qx "LOCKSTEP_NEW_SHA256=$(fingerprint "$(D a-cert.pem)")" "$T/env"
	! grep -q ASAN "$T/env" # a clean environment
}

@test "a reload command that fails where nothing is served: exit 1 and not well, until one succeeds" {
	services_conf
	init --quiet
	script "$T/reload" <<-END
		[ -e $T/works ] || { echo 'no way' >&2; exit 3; }
		env >$T/env
	END
	template proxy "reload = ( { exec = [ \"$T/reload\" ]; } );"
	start_daemon
	run -1 --separate-stderr set_pair proxy a
	[[ $stderr == "lockstep: "*"no way"* ]]
	live_is proxy "$(D a-cert.pem)"
	run -1 lockstep status
	[[ $output == *reload* ]]
	[ "$(json status | jq -r '.last.result')" = degraded ]
	: >"$T/works"
	set_pair proxy b
	live_is proxy "$(D b-cert.pem)"
	healthy
	grep -qx LOCKSTEP_EVENT=reload "$T/env"
	grep -qx "LOCKSTEP_CERT_PATH=$CERTS/proxy_cert.pem" "$T/env"
	grep -qx "LOCKSTEP_OLD_SHA256=$(fingerprint "$(D a-cert.pem)")" "$T/env"
}

@test "a reload that hangs is ended by its time-out" {
	services_conf
	init --quiet
	script "$T/reload" <<-END
		sleep 1000
	END
	template proxy "reload = ( { exec = [ \"$T/reload\" ]; timeout_s = 1; } );"
	start_daemon
	run -1 set_pair proxy a
	live_is proxy "$(D a-cert.pem)"
	! pgrep -f "$T/reload"
}
