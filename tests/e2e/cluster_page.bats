#!/usr/bin/env bats
# docs/cluster.md as printed: its sh blocks form a cluster of three nodes and three etcd members, replace and remove nodes,
# and lose etcd twice. Each machine is a directory and an address of 127.0.1.0/24; systemctl is played by a script.

load lib.bash
load etcd.bash
load cluster.bash

PAGE=$BATS_TEST_DIRNAME/../../docs/cluster.md

# Each block to a file of its own, "NUMBER NODE…": what stands behind ```sh says on which machines it is typed.
blocks() {
	mkdir -p "$T/blocks"
	awk -v dir="$T/blocks" '
		/^```sh n/ { file = sprintf("%s/%02d", dir, ++n); sub(/^```sh /, ""); print >(file ".on"); block = 1; next }
		/^```/ { block = 0; next }
		block { print >file }' "$PAGE"
}

# A machine's own commands, and its files and addresses in place of those of the page.
machine() { # NAME
	local bin=$T/bin/$1

	mkdir -p "$bin" "$T/$1/etc/lockstep" "$T/$1/var/lib/etcd"
	ships "$T/$1"
	cat >"$bin/lockstep" <<-END
		#!/bin/bash
		[ "\$1" != etcd-config ] || set -- "\$@" --client-port $CLIENT_PORT --metrics-port 0
		exec "$E2E_BUILD/lockstep" --root "$T/$1" "\$@"
	END
	cat >"$bin/systemctl" <<-END
		#!/bin/bash
		# What the page needs of it: enable --now, start, stop, restart UNIT…
		verb=\$1
		shift
		[ "\$1" != --now ] || shift
		for unit; do
			pid=$T/$1-\$unit.pid
			case \$verb in stop | restart)
				kill "\$(cat "\$pid")"
				while kill -0 "\$(cat "\$pid")" 2>/dev/null; do sleep 0.05; done
				;;
			esac
			case \$unit in
			lockstepd | lockstep-gateway) command=("$E2E_BUILD/\$unit" --root "$T/$1") ;;
			lockstep-etcd@*) command=(etcd --config-file "$T/$1/var/lib/lockstep/etcd/\${unit#*@}/etcd.conf.yml") ;;
			*) exit 1 ;;
			esac
			case \$verb in start | restart | enable)
				setsid "\${command[@]}" >>"$T/$1-\$unit.log" 2>&1 </dev/null 3>&- &
				echo \$! >"\$pid"
				echo \$! >>"$PIDS"
				;;
			esac
		done
	END
	chmod +x "$bin"/*
	export -p | grep -v ' BASH\| SHLVL\|_=' >"$T/env-$1"
}

typed_on() { # NODE FILE
	{
		cat "$T/env-$1"
		echo "PATH=$T/bin/$1:$PATH"
		sed -E "s/10\.0\.0\./127.0.1./g; s/:2379/:$CLIENT_PORT/g; s/:2380/:$PEER_PORT/g; s/:7443/:$GATEWAY_PORT/g
			s|/(var/lib\|etc)/(lockstep\|etcd)|$T/$1/\1/\2|g" "$2"
		echo "export -p >'$T/env-$1'"
	} >"$T/script"
	echo "--- on $1:"
	cat "$2"
	(cd "$T" && bash -eu "$T/script" 3>&-)
}

ready() { # NODE: its daemon and its gateway
	[ ! -e "$T/$1-lockstepd.pid" ] || wait_for "answers $1" $DEADLINE
	[ ! -e "$T/$1-lockstep-gateway.pid" ] || wait_for "curl -fsk https://127.0.1.${1:1:1}:$GATEWAY_PORT/v1/cluster" $DEADLINE
}

# What the page says in between, and what must be true then.
before() { # BLOCK
	case $(cat "$1") in
	*snapshot\ restore*) # something was decided after the snapshot
		on n1 --quiet cert renew proxy --force
		AFTER=$(commit_of n1)
		;;
	*n3-new.token*--replace*) # the old machine is lost
		kill -KILL "$(cat "$T/n3-lockstepd.pid")" "$(cat "$T/n3-lockstep-gateway.pid")"
		cp "$T/n3/etc/lockstep/lockstep.conf" "$T/n3-new/etc/lockstep/"
		;;
	*node\ remove*) wait_for "on n1 --quiet status || on n1 status | grep 'earlier CA'" $DEADLINE ;;
	esac
}

@test "the page's commands, in their order" {
	local file node last

	CLIENT_PORT=$(free_port) PEER_PORT=$(free_port) GATEWAY_PORT=$(free_port)
	blocks
	[ "$(ls "$T"/blocks/*.on | wc -l)" -ge 20 ]
	for node in n1 n2 n3 n3-new; do machine $node; done
	for file in "$T"/blocks/??; do
		before "$file"
		for node in $(cat "$file.on"); do
			typed_on "$node" "$file" || { tail -n 5 "$T"/*.log; return 1; }
			ready "$node"
		done
		case $(cat "$file") in
		*"lockstep status"*) # formed: three nodes, three members of etcd with a vote
			for node in n1 n2 n3; do
				[ "$(jq '.endpoints | length' "$T/$node/var/lib/lockstep/store/etcd.json")" = 3 ]
				wait_for "on $node --quiet doctor" $DEADLINE
			done
			[ "$(on_json n1 status | jq '.nodes | length')" = 3 ]
			;;
		*--replace*)
			wait_for "on n3-new --quiet status && on n1 --quiet status" $DEADLINE
			[ "$(commit_of n3-new)" = "$(commit_of n1)" ]
			;;
		*snapshot\ restore*)
			wait_for "on n1 --quiet doctor" $DEADLINE
			[ "$(commit_of n1)" = "$AFTER" ]
			[ "$(on_json n1 status | jq -r .commit)" = "$AFTER" ]
			;;
		esac
		last=$file
	done
	[ -n "$last" ]
	wait_for "on n1 --quiet status" $DEADLINE
	on n1 history verify
	[ "$(on_json n1 status | jq -c '[.nodes[].name]')" = '["n1"]' ]
	[ "$(grep -c BEGIN "$T/n1/var/lib/lockstep/identity/ca.pem")" = 1 ] # the old CA is gone
}
