#!/usr/bin/env bats
# A cluster: nodes join through the gateway, agree in a real etcd under mutual TLS, and change together or not at all.

bats_require_minimum_version 1.7.0
load lib.bash
load etcd.bash
load cluster.bash

setup_file() { export LC_ALL=C; }
make_pairs() {
	authority "$T/ca"
	for name; do pair "$T/$name" "$T/ca"; done
}
exit_of() { # EXPECTED COMMAND…
	local want=$1 got=0

	shift
	"$@" >"$T/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || { cat "$T/out"; echo "exit $got, wanted $want"; return 1; }
}

@test "three etcd members, three nodes: one history, one KEK, and the whole of it judged by each" {
	cluster_pem
	cluster_begin e1 e2 e3
	joined n2 n3
	all_at 3
	for node in n1 n2 n3; do
		on $node history verify
		[ "$(on_json $node status | jq -r .store)" = etcd ]
		[ "$(on_json $node status | jq -c '[.nodes[] | [.name, .alive, .ready]]')" = '[["n1",true,true],["n2",true,true],["n3",true,true]]' ]
		# Everybody's files, seen from everywhere.
		[ "$(on_json $node status | jq '[.nodes[].components.proxy.disk] | unique | length')" = 1 ]
		git --git-dir="$T/$node/var/lib/lockstep/history.git" fsck --strict
	done
	[ "$(git --git-dir="$T/n3/var/lib/lockstep/history.git" log -1 --format='%an %cn')" = "n3 n1" ]

	# A change on any node is one on all.
	on n2 cert renew proxy --force
	all_at 4
	make_pairs a b
	on n3 cert set proxy --cert "$T/a-cert.pem" --key "$T/a-key.pem"
	all_at 5
	live_everywhere proxy "$T/a-cert.pem"
	drop_in n2 api "$T/b"
	wait_for "live_everywhere api $T/b-cert.pem" $DEADLINE
	wait_for "all_at 6 && all_well" $DEADLINE
	on n3 rollback 4
	on n1 seal rotate
	on n2 cert csr cm --out "$T/cm.csr"
	all_at 9
	wait_for all_well $DEADLINE

	# One member of etcd after the other goes and comes back: nobody waits for it.
	for member in e1 e2 e3; do
		etcd_stop "$member"
		on n2 cert renew api --force --replace-installed
		all_well || wait_for all_well $DEADLINE
		etcd_start "$member" "$T/n1/var/lib/lockstep/etcd/$member/etcd.conf.yml"
		etcd_wait $STARTS "$CA" "$PEM"
	done
	all_at 12

	# Without a quorum services keep what they have; afterwards all goes on.
	etcd_stop e2 e3
	exit_of 4 on n1 --timeout 30 cert renew api --force
	all_at 12
	run on n1 status
	[ "$status" = 1 ]
	[[ $output == *"services keep what they have"* ]]
	etcd_all_up
	wait_for all_well 60
	on n1 cert renew api --force
	wait_for all_well $DEADLINE
	on n3 history verify
}

@test "a token lets one node in, once; what is not the cluster's is refused" {
	cluster_pem
	cluster_begin e1
	on n1 token create --quiet >"$T/token"
	ships "$T/n2"
	configure n2

	# Not a token; a secret that is another; a CA that is another.
	echo nonsense >"$T/bad"
	exit_of 3 join_with n2 "$T/bad"
	sed 's/^\(lsj1\.[0-9a-f]*\.\)./\1x/' "$T/token" | tr x 0 >"$T/bad"
	cmp -s "$T/bad" "$T/token" || exit_of 3 join_with n2 "$T/bad"
	awk -F. -v OFS=. '{ $4 = sprintf("%064d", 0); print }' "$T/token" >"$T/bad"
	exit_of 3 join_with n2 "$T/bad"
	grep -q "another fingerprint" "$T/out"
	[ ! -e "$T/n2/var/lib/lockstep/store/etcd.json" ]
	all_at 1 n1

	# In; the same words again say so; another machine with the same token is refused.
	join_with n2 "$T/token"
	exit_of 3 join_with n2 "$T/token"
	grep -q "is node n2 of cluster prod already" "$T/out"
	ships "$T/n3"
	configure n3
	exit_of 3 join_with n3 "$T/token"
	grep -q "unknown, expired or used" "$T/out"
	daemon_up n2
	wait_for "all_at 2 n1 n2" $DEADLINE

	# A name is taken once; an expired token is none.
	on n1 token create --quiet >"$T/token2"
	on_json n1 token create --ttl 1s >"$T/token3.json"
	jq -r .token "$T/token3.json" >"$T/token3"
	exit_of 3 on n3 join --token-file "$T/token2" --node n2
	grep -q -- --replace "$T/out"
	on n1 token create --quiet >"$T/token2"
	exit_of 3 on n3 join --token-file "$T/token2" --node n1 --replace # n1 is who answers
	grep -q "not lost" "$T/out"
	wait_for "[ \$(date +%s) -gt $(date -d "$(jq -r .expires "$T/token3.json")" +%s) ]" 5
	exit_of 3 join_with n3 "$T/token3"
	grep -q expired "$T/out"

	# The keys of a node are on that node alone, and no token is in a process list or log.
	! grep -rqF "$(cut -d. -f3 "$T/token")" "$T"/*.log "$T"/n1/var/lib/lockstep/history.git
	[ "$(cat "$T"/n?/var/lib/lockstep/identity/signing-key.pem | grep -vc -- ----)" = \
		"$(cat "$T"/n?/var/lib/lockstep/identity/signing-key.pem | grep -v -- ---- | sort -u | wc -l)" ]
}

# As somebody who has a token and the public key of a member, but none of its private ones.
ask_with_key_of() { # NODE TOKEN-FILE
	local id secret body mac own

	own=$(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout)
	IFS=. read -r _ id secret _ <"$2"
	body=$(jq -cn --arg node "$1" --arg own "$own" --arg signing \
		"$(openssl x509 -in "$T/$1/var/lib/lockstep/identity/signing-cert.pem" -noout -pubkey)" \
		'{$node, signing_key: $signing, etcd_key: $own, wrapping_keys: {"1": $own}, replace: false}')
	mac=$({ printf 'lockstep join request\0' && printf %s "$body"; } |
		openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" | sed 's/.*= //')
	jq -n --arg token "$id" --arg body "$body" --arg mac "$mac" '{$token, $body, $mac}' |
		curl -sk "$(gateway_url n1)/v1/join" --data-binary @- >"$T/answer"
}

@test "a member's public key gives no papers to who lacks the private one" {
	cluster_pem
	cluster_begin e1
	on n1 token create --quiet >"$T/token"
	join_with n2 "$T/token"
	daemon_up n2
	wait_for "all_at 2 && all_well" $DEADLINE
	ask_with_key_of n2 "$T/token" # that n2 itself came with
	jq -e '.error.message | contains("unknown, expired or used")' "$T/answer"
	on n1 token create --quiet >"$T/token2"
	ask_with_key_of n2 "$T/token2"
	jq -e '.error.message | contains("has a node \u0027n2\u0027 already")' "$T/answer"
	all_at 2
}

@test "status --watch on one node shows what changes on the others, while it does" {
	cluster_pem
	cluster_up 2
	start watcher "$E2E_BUILD/lockstep" --root "$T/n2" status --watch
	wait_for "grep -qE '^n1 +yes +2 ' '$T/watcher.log'" $DEADLINE
	on n1 cert renew proxy --force
	wait_for "grep -qE '^n1 +yes +3 ' '$T/watcher.log'" $DEADLINE
	kill_hard n1
	wait_for "grep -qE '^n1 +no ' '$T/watcher.log'" $DEADLINE
}

@test "a join that was cut off is taken up again with the same keys" {
	local first

	cluster_pem
	cluster_begin e1
	on n1 token create --quiet >"$T/token"
	ships "$T/n2"
	configure n2
	# Nobody answers for a while.
	kill -STOP "$(pid_of n1)"
	exit_of 4 on n2 --timeout 2 join --token-file "$T/token" --node n2
	kill -CONT "$(pid_of n1)"
	# The joiner dies as soon as it has its keys.
	start joiner "$E2E_BUILD/lockstep" --root "$T/n2" join --token-file "$T/token" --node n2
	wait_for "[ -s '$T/n2/var/lib/lockstep/identity/signing-key.pem' ]" $DEADLINE
	kill_hard joiner
	first=$(cat "$T/n2/var/lib/lockstep/identity/signing-key.pem")
	on n2 join --token-file "$T/token" --node n2
	[ "$(cat "$T/n2/var/lib/lockstep/identity/signing-key.pem")" = "$first" ]
	daemon_up n2
	wait_for "all_at 2 && all_well" $DEADLINE

	# A disk is lost: only --replace brings a node of that name back, and its old self counts no more.
	kill_hard n2
	rm -rf "$T/n2"
	on n1 token create --quiet >"$T/token"
	exit_of 3 join_with n2 "$T/token"
	join_with n2 "$T/token" --replace
	daemon_up n2
	wait_for "all_at 3 && all_well" $DEADLINE
}

@test "a node joins while a rotation runs" {
	local slow

	cluster_pem
	use n1
	script "$T/slow" <<-END
		: >"$T/begun"
		until [ -e "$T/go" ]; do sleep 0.05; done
	END
	slow="validate = [ \"$T/slow\" ];"
	mkdir -p "$T/n1/etc/lockstep"
	template proxy "$slow"
	cluster_begin e1
	on n1 token create --quiet >"$T/token"
	on n1 cert renew proxy --force >"$T/change" 2>&1 &
	change=$!
	wait_for "[ -e '$T/begun' ]" $DEADLINE
	on n1 rotation show | grep -q "voting"
	join_with n2 "$T/token" >"$T/join" 2>&1 &
	joiner=$!
	wait_for "grep -q 'waiting until the cluster' '$T/join'" $DEADLINE
	: >"$T/go"
	wait $change
	wait $joiner
	daemon_up n2
	wait_for "all_at 3 && all_well" $DEADLINE
}

@test "two different changes at once: one wins, the other is told; a drop-in waits its turn" {
	local won=0 i

	cluster_pem
	cluster_up 3
	for i in 1 2 3 4 5; do
		on n1 cert renew cm --force >"$T/one" 2>&1 &
		one=$!
		exit=0
		on n2 cert renew api --force >"$T/two" 2>&1 || exit=$?
		first=0
		wait $one || first=$?
		case $first$exit in
		00) ;;
		05 | 50) won=$((won + 1)) ;;
		*) cat "$T/one" "$T/two"; return 1 ;;
		esac
	done
	wait_for all_well $DEADLINE
	make_pairs a b
	drop_in n1 proxy "$T/a"
	drop_in n3 syncer "$T/b"
	wait_for "live_everywhere proxy $T/a-cert.pem && live_everywhere syncer $T/b-cert.pem" $DEADLINE
	wait_for all_well $DEADLINE
	for node in n1 n2 n3; do
		[ -z "$(ls "$T/$node/etc/lockstep/incoming")" ]
		[ -z "$(ls "$T/$node/var/lib/lockstep/rejected")" ]
	done
}

@test "the same pair dropped on all nodes by a playbook makes one rotation" {
	local before

	cluster_pem
	cluster_up 3
	make_pairs a
	before=$(number_of n1)
	for node in n1 n2 n3; do drop_in $node proxy "$T/a"; done
	wait_for "live_everywhere proxy $T/a-cert.pem" $DEADLINE
	for node in n1 n2 n3; do wait_for "[ -z \"\$(ls $T/$node/etc/lockstep/incoming)\" ]" $DEADLINE; done
	wait_for all_well $DEADLINE
	all_at $((before + 1))
	for node in n1 n2 n3; do [ -z "$(ls "$T/$node/var/lib/lockstep/rejected")" ]; done
}

@test "a no on one node is a no everywhere, in that node's words; an abort before the commit point is one too" {
	local before

	cluster_pem
	cluster_up 3
	before=$(number_of n1)
	use n3
	script "$T/no" <<-END
		[ -e "$T/slow" ] || { echo "I will not take this"; exit 1; }
		: >"$T/begun"
		until [ -e "$T/go" ]; do sleep 0.05; done
	END
	template proxy "validate = [ \"$T/no\" ];"
	kill -HUP "$(pid_of n3)"
	wait_for "grep -q reread '$T/n3.log'" $DEADLINE
	exit_of 3 on n1 cert renew proxy --force
	grep -q "n3: .*I will not take this" "$T/out"
	all_at "$before"
	wait_for all_well $DEADLINE

	: >"$T/slow"
	on n1 cert renew proxy --force >"$T/change" 2>&1 &
	change=$!
	wait_for "[ -e '$T/begun' ]" $DEADLINE
	on_json n2 rotation show | jq -e '.rotation.votes.n2.yes == true and .rotation.votes.n3 == null'
	on n2 rotation abort
	: >"$T/go"
	code=0
	wait $change || code=$?
	[ "$code" = 3 ]
	grep -q "aborted on node n2" "$T/change"
	all_at "$before"
	wait_for all_well $DEADLINE
	exit_of 3 on n2 rotation abort
	on n2 cert renew api --force
	wait_for "all_at $((before + 1)) && all_well" $DEADLINE
}

@test "a service on one node that does not take the change takes all nodes back; one that was down before does not" {
	local before

	cluster_pem
	cluster_up 3
	use n2
	nginx_up proxy "$LOCALHOST:$(free_port | tee "$T/endpoint")"
	endpoint=$LOCALHOST:$(cat "$T/endpoint")
	template proxy "serve = ( { endpoint = \"$endpoint\"; name = \"$FQDN\"; } );"
	kill -HUP "$(pid_of n2)"
	wait_for "grep -q reread '$T/n2.log'" $DEADLINE
	wait_for all_well $DEADLINE
	before=$(number_of n1)
	make_pairs a
	cp "$T/n1/etc/lockstep/certs/proxy_cert.pem" "$T/was.pem"

	# nginx is not told, so it goes on serving the old one.
	exit_of 6 on n3 cert set proxy --cert "$T/a-cert.pem" --key "$T/a-key.pem"
	wait_for "all_at $((before + 2))" $DEADLINE
	live_everywhere proxy "$T/was.pem"
	wait_for all_well $DEADLINE
	for node in n1 n2 n3; do on $node history verify; done

	# Down before: no fault of the change.
	stop nginx-master
	on n3 cert set proxy --cert "$T/a-cert.pem" --key "$T/a-key.pem"
	live_everywhere proxy "$T/a-cert.pem"
	run on n1 status
	[ "$status" = 1 ]
	[[ $output == *"proxy on node n2: an endpoint does not serve"* ]]
}

@test "who is away is left out, named, and catches up straight to the tip before it counts" {
	local before

	LEASE_S=2 ROTATION="away_after_s = 2; vote_s = 20;"
	cluster_pem
	cluster_up 3
	before=$(number_of n1)
	kill_hard n3
	on n1 cert renew proxy --force
	on n2 cert renew api --force
	on n1 cert renew cm --force
	on n1 seal rotate
	all_at $((before + 4)) n1 n2
	[ "$(on_json n1 history show $((before + 1)) | jq -c '[.participants, .away]')" = '[["n1","n2"],["n3"]]' ]
	run on n2 status
	[ "$status" = 1 ]
	[[ $output == *"node n3 is away since"* ]]
	[ "$(on_json n2 status | jq -c '.nodes[] | select(.name == "n3") | [.alive, .ready]')" = '[false,false]' ]
	daemon_up n3
	wait_for "all_at $((before + 4)) && all_well" $DEADLINE
	on n3 history verify
	# It went there in one step: no directory of the generations in between was ever made.
	! grep -q "generation $((before + 2)) is in force" "$T/n3.log"

	# Two of three away: fewer than a majority changes nothing, and says so.
	kill_hard n2
	kill_hard n3
	exit_of 3 on n1 cert renew proxy --force
	grep -q "no majority" "$T/out"
	all_at $((before + 4))
	daemon_up n2
	daemon_up n3
	wait_for all_well $DEADLINE
	on n3 cert renew proxy --force
	wait_for "all_at $((before + 5)) && all_well" $DEADLINE
}

@test "rotation.require = all waits for nobody: it refuses" {
	LEASE_S=2 ROTATION='require = "all"; away_after_s = 2; vote_s = 20;'
	cluster_pem
	cluster_up 2
	kill_hard n2
	wait_for "! on n1 status --quiet" $DEADLINE
	exit_of 3 on n1 cert renew proxy --force
	grep -q "node n2 is away, and rotation.require is 'all'" "$T/out"
	all_at 2
	daemon_up n2
	wait_for all_well $DEADLINE
	on n1 cert renew proxy --force
	wait_for "all_at 3 && all_well" $DEADLINE
}

@test "the initiator dies: before the decision nothing changed, after it the others finish" {
	local before

	LEASE_S=2 ROTATION="away_after_s = 2; vote_s = 6; timeout_s = 20;"
	cluster_pem
	cluster_up 3
	before=$(number_of n1)
	use n1
	script "$T/hold" <<-END
		[ -e "$T/hold-\$LOCKSTEP_EVENT" ] || exit 0
		: >"$T/held"
		until [ -e "$T/go" ]; do sleep 0.05; done
	END
	template proxy "validate = [ \"$T/hold\" ]; reload = ( { exec = [ \"$T/hold\" ]; } );"
	kill -HUP "$(pid_of n1)"
	wait_for "grep -q reread '$T/n1.log'" $DEADLINE

	# While it validates: the others have voted, it has not.
	: >"$T/hold-validate"
	on n1 cert renew proxy --force >"$T/change" 2>&1 &
	wait_for "[ -e '$T/held' ]" $DEADLINE
	kill_hard n1
	rm -f "$T/hold-validate" "$T/held"
	wait_for "[ \"\$(on_json n2 rotation show | jq .rotation)\" = null ]" 60
	all_at "$before"
	daemon_up n1
	wait_for "all_at $before && all_well" $DEADLINE

	# While it reloads: decided, so everybody gets there, and n3 or n2 closes it.
	: >"$T/hold-reload"
	on n1 cert renew proxy --force >"$T/change" 2>&1 &
	wait_for "[ -e '$T/held' ]" $DEADLINE
	kill_hard n1
	rm -f "$T/hold-reload"
	wait_for "[ \"\$(on_json n2 rotation show | jq .rotation)\" = null ]" 60
	all_at $((before + 1)) n2 n3
	daemon_up n1
	wait_for "all_at $((before + 1))" $DEADLINE
	on n2 cert renew api --force
	wait_for "all_at $((before + 2)) && all_well" $DEADLINE
}

@test "etcd restored from an older snapshot: nothing goes back, and the record is put forward again" {
	local before data

	cluster_pem
	cluster_up 2
	make_pairs a
	data=$(sed -n 's/^data-dir: *//p' "$T/n1/var/lib/lockstep/etcd/e1/etcd.conf.yml" | tr -d "\"'")
	etcd_stop e1
	cp -a "$data" "$T/snapshot"
	etcd_all_up
	wait_for all_well $DEADLINE
	before=$(number_of n1)
	on n1 cert set proxy --cert "$T/a-cert.pem" --key "$T/a-key.pem"
	on n2 cert renew api --force
	all_at $((before + 2))

	# Under running daemons.
	etcd_stop e1
	rm -rf "$data"
	cp -a "$T/snapshot" "$data"
	etcd_all_up
	wait_for "all_at $((before + 2)) && all_well" 60
	live_everywhere proxy "$T/a-cert.pem"
	[ "$(etcd_get record | jq -r .body | jq .tip.generation)" = $((before + 2)) ]
	grep -q "put forward" "$T/n1.log" "$T/n2.log"
	on n2 cert renew cm --force
	wait_for "all_at $((before + 3)) && all_well" $DEADLINE

	# Emptied: nobody fills another engine by himself; the command does.
	etcd_stop e1
	rm -rf "$data"
	etcd_all_up
	wait_for "on n1 status 2>&1 | grep -q 'holds nothing of this cluster'" 60
	exit_of 1 on n1 cert renew cm --force
	on n1 store migrate --etcd "$(endpoints)"
	wait_for "all_at $((before + 3)) && all_well" 60
	on n2 cert renew cm --force
	wait_for "all_at $((before + 4)) && all_well" $DEADLINE
}

@test "an etcd with certificates of an operator's own: init --etcd, and a node that joins brings its pair" {
	local client peer

	authority "$T/ca"
	pair "$T/server" "$T/ca" san=IP:127.0.0.1
	pair "$T/c1" "$T/ca" san= eku=clientAuth
	pair "$T/c2" "$T/ca" san= eku=clientAuth
	client=$(free_port)
	peer=$(free_port)
	start etcd etcd --name own --data-dir "$T/own" --listen-client-urls "https://127.0.0.1:$client" \
		--advertise-client-urls "https://127.0.0.1:$client" --listen-peer-urls "https://127.0.0.1:$peer" \
		--initial-advertise-peer-urls "https://127.0.0.1:$peer" --initial-cluster "own=https://127.0.0.1:$peer" \
		--client-cert-auth --trusted-ca-file "$T/ca-cert.pem" --cert-file "$T/server-cert.pem" \
		--key-file "$T/server-key.pem" --peer-client-cert-auth --peer-trusted-ca-file "$T/ca-cert.pem" \
		--peer-cert-file "$T/server-cert.pem" --peer-key-file "$T/server-key.pem" --logger zap \
		--log-outputs stderr --experimental-watch-progress-notify-interval 2s
	wait_for "curl -fs --cacert '$T/ca-cert.pem' --cert '$T/c1-cert.pem' --key '$T/c1-key.pem' https://127.0.0.1:$client/health" 60
	use n1
	ships "$R"
	configure n1
	words=(init --cluster prod --fqdn $FQDN --node n1 --etcd "https://127.0.0.1:$client")
	exit_of 2 lockstep "${words[@]}" --etcd-ca "$T/ca-cert.pem"
	exit_of 3 lockstep "${words[@]}" --etcd-ca "$T/ca-cert.pem" --etcd-cert "$T/c1-cert.pem" --etcd-key "$T/c2-key.pem"
	lockstep "${words[@]}" --etcd-ca "$T/ca-cert.pem" --etcd-cert "$T/c1-cert.pem" --etcd-key "$T/c1-key.pem"
	[ ! -e "$R/var/lib/lockstep/store/record.json" ]
	daemon_up n1
	gateway_up n1
	on n1 token create --quiet >"$T/token"
	exit_of 3 join_with n2 "$T/token"
	grep -q -- --etcd-cert "$T/out"
	join_with n2 "$T/token" --etcd-cert "$T/c2-cert.pem" --etcd-key "$T/c2-key.pem"
	daemon_up n2
	wait_for "all_at 2 && all_well" $DEADLINE
	on n2 cert renew proxy --force
	wait_for "all_at 3 && all_well" $DEADLINE
	# The operator's pair is the operator's to renew.
	[ "$(sed -n '/BEGIN CERT/,$p' "$T/n2/var/lib/lockstep/identity/etcd.pem")" = "$(cat "$T/c2-cert.pem")" ]
}

@test "a compromised node: the CA is replaced in two steps, between which etcd is restarted; then its certificate opens nothing" {
	local lost

	cluster_pem
	cluster_up 3
	lost=$T/n3/var/lib/lockstep/identity/etcd.pem
	on n1 --quiet node remove n3 --compromised
	stop n3
	wait_for "[ \$(grep -c BEGIN '$CA') = 2 ]" $DEADLINE
	run on n2 status
	[ "$status" = 1 ]
	[[ $output == *"earlier CA, which a compromised node knew, is still trusted"* ]]
	on n2 cert renew api --force # nothing waits for it
	exit_of 3 on n2 node remove nod3 --compromised # a slip is not the second step
	grep -q "no node 'nod3'" "$T/out"
	[ "$(grep -c BEGIN "$CA")" = 2 ]
	etcd_stop
	etcd_all_up
	wait_for "on n1 status 2>&1 | grep -q 'still trusted' && ! on n1 status 2>&1 | grep -q 'services keep'" 60
	on n2 --quiet node remove n3 --compromised
	wait_for "[ \$(grep -c BEGIN '$CA') = 1 ]" $DEADLINE
	for node in n1 n2; do wait_for "on $node status --quiet" $DEADLINE; done
	etcd_stop
	etcd_all_up
	for node in n1 n2; do wait_for "on $node status --quiet" 60; done
	on n2 cert renew api --force
	on n1 seal rotate
	for node in n1 n2; do
		on $node history verify
		openssl verify -CAfile "$CA" "$T/$node/var/lib/lockstep/identity/etcd.pem"
	done
	run ! etcd_call e1 "$CA" "$lost" kv/range '{"key":"AA=="}'
	[[ $output != *revision* ]]
}

@test "a node dies right before a change: with the settings as shipped it is waited for, then left out" {
	ROTATION="away_after_s = 3;" # vote_s and lease_ttl_s are both 10
	cluster_pem
	cluster_up 3
	kill_hard n3
	on n1 cert renew proxy --force
	all_at 4 n1 n2
	[ "$(on_json n1 history show 4 | jq -c .away)" = '["n3"]' ]
	daemon_up n3
	wait_for "all_at 4 && all_well" $DEADLINE
}
