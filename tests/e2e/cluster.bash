# cluster -- several nodes on one machine, each with a root of its own ($T/n1 …), a gateway where it is needed, and one
# or three etcd members whose certificates come from the cluster. Behind lib.bash and etcd.bash.

STARTS=60 # seconds for an etcd cluster on a busy machine

# The node that the helpers of lib.bash are about.
use() { # NODE
	R=$T/$1
	CERTS=$R/etc/lockstep/certs
	INCOMING=$R/etc/lockstep/incoming
	REJECTED=$R/var/lib/lockstep/rejected
	TEMPLATES=$R/etc/lockstep/templates
	CONF=$R/etc/lockstep/lockstep.conf
}
on() { # NODE WORDS…
	local node=$1

	shift
	"$E2E_BUILD/lockstep" --root "$T/$node" "$@"
}
on_json() { # NODE WORDS…
	local node=$1

	shift
	"$E2E_BUILD/lockstep" --root "$T/$node" -o json "$@"
}

# lockstep.conf: the gateway, and what a test wants besides.
configure() { # NODE [LINES]
	local port

	mkdir -p "$T/$1/etc/lockstep"
	[ -s "$T/$1.port" ] || free_port >"$T/$1.port"
	port=$(cat "$T/$1.port")
	cat >"$T/$1/etc/lockstep/lockstep.conf" <<-END
		gateway = { listen = "127.0.0.1:$port"; address = "127.0.0.1:$port"; };
		intake = { settle_ms = 100; patience_s = 5; };
		lease_ttl_s = ${LEASE_S:-10};
		reconcile_s = 5;
		${2:-}
	END
}
gateway_url() { echo "https://127.0.0.1:$(cat "$T/$1.port")"; }

answers() { [ -S "$T/$1/run/lockstep/control.sock" ] && on "$1" history -n 1; }
daemon_up() { # NODE
	start "$1" "$E2E_BUILD/lockstepd" --root "$T/$1"
	wait_for "answers $1" "$DEADLINE"
}
gateway_up() { # NODE
	start "gateway-$1" "$E2E_BUILD/lockstep-gateway" --root "$T/$1"
	wait_for "curl -fsk $(gateway_url "$1")/v1/cluster" "$DEADLINE" || {
		tail -n 5 "$T/gateway-$1.log" "$T/$1.log"
		return 1
	}
}

# The first node, its etcd, and the store moved there. ROTATION may hold settings of the group `rotation`.
cluster_begin() { # ETCD-MEMBER…
	export ETCD_DIR=$T/etcd
	mkdir -p "$ETCD_DIR"
	use n1
	ships "$R"
	configure n1 "rotation = { ${ROTATION:-away_after_s = 3; vote_s = 20; served_s = 3;} };"
	lockstep init --cluster prod --fqdn $FQDN --node n1 --quiet
	daemon_up n1
	etcd_plan "$@"
	for member; do etcd_files "$member" "$E2E_BUILD/lockstep" --root "$R" --quiet; done
	etcd_all_up
	lockstep store migrate --etcd "$(endpoints)" --quiet
	gateway_up n1
}
etcd_all_up() {
	local member

	for member in $(etcd_names); do
		etcd_runs "$member" ||
			etcd_start "$member" "$T/n1/var/lib/lockstep/etcd/$member/etcd.conf.yml"
	done
	etcd_wait $STARTS "$CA" "$PEM"
}
endpoints() { for member in $(etcd_names); do etcd_url "$member"; done | paste -sd , -; }
join_with() { # NODE TOKEN-FILE [WORDS…]
	local node=$1 token=$2

	shift 2
	ships "$T/$node"
	[ -e "$T/$node/etc/lockstep/lockstep.conf" ] || configure "$node"
	on "$node" join --token-file "$token" --node "$node" "$@"
}
joined() { # NODE…: joins through n1, with its daemon
	local node

	for node; do
		on n1 token create --quiet >"$T/$node.token"
		join_with "$node" "$T/$node.token" --quiet
		daemon_up "$node"
	done
	wait_for "all_well" "$DEADLINE"
}
cluster_up() { # COUNT: nodes, and one etcd member
	local nodes=() i

	cluster_begin e1
	for ((i = 2; i <= $1; i++)); do nodes+=("n$i"); done
	joined "${nodes[@]}"
}

# What the cluster's CA and a member's client certificate open etcd with.
cluster_pem() {
	CA=$T/n1/var/lib/lockstep/identity/ca.pem
	PEM=$T/n1/var/lib/lockstep/etcd/e1/member.pem
}

nodes() { for file in "$T"/n*/var/lib/lockstep/store/etcd.json; do basename "${file%/var/*}"; done; }
commit_of() { git --git-dir="$T/$1/var/lib/lockstep/history.git" rev-parse main; }
number_of() { on_json "$1" status | jq .generation; }
all_well() {
	local node

	for node in $(nodes); do on "$node" status --quiet || return 1; done
}
all_at() { # GENERATION [NODE…]: the same commit, live, pairs that match
	local want=$1 node commit=''

	shift
	[ $# -gt 0 ] || set -- $(nodes)
	for node; do
		[ "$(git --git-dir="$T/$node/var/lib/lockstep/history.git" rev-list --count main)" = "$want" ] || return 1
		[ -n "$commit" ] || commit=$(commit_of "$node")
		[ "$(commit_of "$node")" = "$commit" ] || return 1
		(use "$node" && all_pairs_match) || return 1
	done
}
live_everywhere() { # COMPONENT CERTIFICATE-FILE [NODE…]
	local component=$1 cert=$2 node

	shift 2
	[ $# -gt 0 ] || set -- $(nodes)
	for node; do (use "$node" && live_is "$component" "$cert") || return 1; done
}
drop_in() { # NODE COMPONENT PAIR
	local incoming=$T/$1/etc/lockstep/incoming

	cp "$3-key.pem" "$incoming/.new-key"
	cp "$3-cert.pem" "$incoming/.new-cert"
	mv "$incoming/.new-key" "$incoming/$2_key.pem"
	mv "$incoming/.new-cert" "$incoming/$2_cert.pem"
}

# Straight into etcd, past Lockstep, with a client certificate that is good.
b64() { base64 -w0; }
etcd_prefix() { echo "/lockstep/$(jq -r .cluster_id "$T/n1/var/lib/lockstep/identity/node.json")/"; }
etcd_put() { # KEY: the value from standard input
	etcd_call e1 "$CA" "$PEM" kv/put "{\"key\":\"$(printf %s "$(etcd_prefix)$1" | b64)\",\"value\":\"$(b64)\"}" >/dev/null
}
etcd_get() { # KEY
	etcd_call e1 "$CA" "$PEM" kv/range "{\"key\":\"$(printf %s "$(etcd_prefix)$1" | b64)\"}" | jq -r '.kvs[0].value' | base64 -d
}
etcd_delete() { # KEY
	etcd_call e1 "$CA" "$PEM" kv/deleterange "{\"key\":\"$(printf %s "$(etcd_prefix)$1" | b64)\"}" >/dev/null
}
etcd_keys() { # PREFIX
	local from to

	from=$(etcd_prefix)$1
	to=${from%?}$(printf "\\$(printf '%03o' $(($(printf '%d' "'${from: -1}") + 1)))")
	etcd_call e1 "$CA" "$PEM" kv/range "{\"key\":\"$(printf %s "$from" | b64)\",\"range_end\":\"$(printf %s "$to" | b64)\",\"keys_only\":true}" |
		jq -r '.kvs[]?.key' | while read -r key; do base64 -d <<<"$key"; echo; done
}
