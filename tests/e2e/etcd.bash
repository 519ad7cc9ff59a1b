# etcd -- etcd members of the cluster's own, from the files of `lockstep etcd-config` and nothing else: for tests (behind
# lib.bash) and for a cluster to try. Works in sh as well. ETCD_DIR is where ports, logs and process numbers are kept; the
# lines of $ETCD_DIR/members are "NAME CLIENT-PORT PEER-PORT METRICS-PORT".

# A port nobody listens on, below those that the kernel gives to clients; not handed out twice: each
# is a directory in LOCKSTEP_PORTS, that of a run of tests if there is one.
etcd_free_port() {
	local port ports=${LOCKSTEP_PORTS:-$ETCD_DIR/taken}

	mkdir -p "$ports"
	while :; do
		port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
		! grep -qsi "$(printf ':%04X 0' "$port")" /proc/net/tcp /proc/net/tcp6 || continue
		mkdir "$ports/$port" 2>/dev/null || continue
		echo "$port"
		return
	done
}

# Chooses ports for members, once: a plan that is there stays.
etcd_plan() { # NAME…
	local name

	[ ! -s "$ETCD_DIR/members" ] || return 0
	for name; do
		echo "$name $(etcd_free_port) $(etcd_free_port) $(etcd_free_port)"
	done >"$ETCD_DIR/members.new"
	mv "$ETCD_DIR/members.new" "$ETCD_DIR/members"
}

etcd_names() { cut -d ' ' -f 1 "$ETCD_DIR/members"; }
etcd_port() { # NAME FIELD: 2 client, 3 peer, 4 metrics
	sed -n "s/^$1 //p" "$ETCD_DIR/members" | cut -d ' ' -f "$(($2 - 1))"
}
etcd_url() { echo "https://127.0.0.1:$(etcd_port "$1" 2)"; } # NAME
etcd_initial() { sed 's|^\([^ ]*\) [^ ]* \([^ ]*\) .*|\1=https://127.0.0.1:\2|' "$ETCD_DIR/members" | paste -sd , -; }

# Has the files of a member written; COMMAND is lockstep with its root.
etcd_files() { # NAME COMMAND…
	local name=$1

	shift
	"$@" etcd-config --member "$name" --listen 127.0.0.1 --initial-cluster "$(etcd_initial)" \
		--client-port "$(etcd_port "$name" 2)" --peer-port "$(etcd_port "$name" 3)" \
		--metrics-port "$(etcd_port "$name" 4)"
}

etcd_runs() { # NAME; the number may be another process's by now
	[ -s "$ETCD_DIR/etcd-$1.pid" ] && kill -0 "$(cat "$ETCD_DIR/etcd-$1.pid")" 2>/dev/null &&
		tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$ETCD_DIR/etcd-$1.pid")/cmdline" | grep -q "etcd.*/$1/"
}

# In a session of its own; its output is in $ETCD_DIR/etcd-NAME.log.
etcd_start() { # NAME CONFIG [COMMAND…]: the command etcd is started by, such as setpriv
	local name=$1 config=$2

	shift 2
	setsid "$@" etcd --config-file "$config" >>"$ETCD_DIR/etcd-$name.log" 2>&1 </dev/null 3>&- &
	echo $! >"$ETCD_DIR/etcd-$name.pid"
	[ -z "${PIDS:-}" ] || echo $! >>"$PIDS"
}

# One request to the JSON gateway of a member; PEM has certificate and key.
etcd_call() { # NAME CA PEM PATH JSON
	curl -sS --fail-with-body --max-time 10 --cacert "$2" --cert "$3" --key "$3" "$(etcd_url "$1")/v3/$4" -d "$5"
}

# A member that has a leader and is not in trouble.
etcd_is_well() { # NAME CA PEM
	etcd_call "$1" "$2" "$3" maintenance/status '{}' 2>/dev/null | grep '"leader":"' | grep -qv '"errors"'
}

etcd_wait() { # SECONDS CA PEM: until all are well
	local end name

	end=$(($(date +%s) + $1))
	for name in $(etcd_names); do
		until etcd_is_well "$name" "$2" "$3"; do
			if ! etcd_runs "$name" || [ "$(date +%s)" -ge "$end" ]; then
				echo "etcd member $name is not well; its last words:" >&2
				tail -n 5 "$ETCD_DIR/etcd-$name.log" >&2
				return 1
			fi
			sleep 0.05
		done
	done
}

etcd_stop() { # [NAME…]: all by default
	local name pid

	[ $# -gt 0 ] || set -- $(etcd_names)
	for name; do
		etcd_runs "$name" && kill -TERM "$(cat "$ETCD_DIR/etcd-$name.pid")" 2>/dev/null
	done
	for name; do
		pid=$(cat "$ETCD_DIR/etcd-$name.pid" 2>/dev/null) || continue
		while kill -0 "$pid" 2>/dev/null && [ "$(ps -o stat= -p "$pid" | cut -c1)" != Z ]; do sleep 0.05; done
		rm -f "$ETCD_DIR/etcd-$name.pid"
	done
}
