#!/usr/bin/env bats
# What lies in etcd, after all that a cluster does: its keys and values, the packs unpacked, and the files of its data
# directory, where old revisions stay. No private key, no cluster key and no secret of a token, in any form.

load lib
load etcd
load cluster
load forge

hunt() { python3 "$E2E_SOURCE/tests/e2e/hunt.py" "$@"; }
NEEDLES() { echo "$T/needles"; }

# The keys of now are looked for from now on: live ones, identities, leaves, and what only the KEK opens.
learn() {
	local file name new=() epoch kek cms

	mkdir -p "$T/keys"
	for file in "$T"/n?/etc/lockstep/certs/*_key.pem "$T"/n?/var/lib/lockstep/identity/*-key.pem \
		"$T"/n?/var/lib/lockstep/identity/*.pem "$T"/n?/var/lib/lockstep/etcd/*/member.pem "$T"/n?/var/lib/lockstep/gateway/*.pem; do
		grep -qs 'PRIVATE KEY' "$file" || continue
		name=$(openssl pkey -in "$file" -outform DER | sha256sum | cut -c1-12)
		[ ! -e "$T/keys/$name" ] || continue
		openssl pkey -in "$file" -out "$T/keys/$name"
		new+=("$T/keys/$name")
	done
	on n1 seal export --to "$T/escrow-cert.pem" >"$T/escrow.cms"
	openssl cms -decrypt -inform PEM -in "$T/escrow.cms" -inkey "$T/escrow-key.pem" -out "$T/keks"
	while read -r epoch kek; do
		[ -e "$T/kek-$epoch" ] || hunt learn-word "$(NEEDLES)" "kek-$epoch" "hex:$kek"
		: >"$T/kek-$epoch"
	done <"$T/keks"
	read -r epoch kek < <(tail -n 1 "$T/keks")
	for cms in cluster/ca-key.cms pending/proxy/key.cms; do
		git --git-dir="$(history_of n1)" show "main:$cms" >"$T/sealed" 2>/dev/null || continue
		openssl cms -decrypt -inform PEM -in "$T/sealed" -secretkey "$kek" -secretkeyid "$(printf %08x "$epoch")" \
			-out "$T/opened.pem"
		name=$(openssl pkey -in "$T/opened.pem" -outform DER | sha256sum | cut -c1-12)
		[ ! -e "$T/keys/$name" ] || continue
		cp "$T/opened.pem" "$T/keys/$name"
		new+=("$T/keys/$name")
	done
	[ ${#new[@]} = 0 ] || hunt learn "$(NEEDLES)" "${new[@]}"
}
learn_token() { # FILE
	hunt learn-word "$(NEEDLES)" "token" "hex:$(cut -d. -f3 <"$1")"
}

# Everything, by all ways: values, packs' objects, files.
dump() {
	local key value count=0

	rm -rf "$T/dump"
	mkdir -p "$T/dump"
	etcd_dump "$T/all"
	[ "$(wc -l <"$T/all")" -gt 20 ]
	git init -q --bare "$T/dump/git"
	while read -r key value; do
		count=$((count + 1))
		base64 -d <<<"$value" >"$T/dump/$count"
		if [[ $(base64 -d <<<"$key") == */pack/*/00 ]]; then
			cat "$T/dump/$count" >>"$T/dump/packs"
			git --git-dir="$T/dump/git" unpack-objects -q <"$T/dump/$count"
		fi
		jq -r '.body? // empty | fromjson | .text? // empty' <"$T/dump/$count" >"$T/dump/$count.text" 2>/dev/null || true
	done <"$T/all"
	git --git-dir="$T/dump/git" cat-file --batch --batch-all-objects >"$T/dump/objects"
	[ "$(grep -ac 'BEGIN CMS' "$T/dump/objects")" -gt 5 ]
	cp -r "$T/n1/var/lib/lockstep/etcd/e1/data" "$T/dump/data"
	[ -s "$T/dump/data/member/snap/db" ]
	[ -n "$(find "$T/dump/data/member/wal" -name '*.wal')" ]
	rm -rf "$T/dump/git"
}
found() { hunt files "$(NEEDLES)" "$T/dump" "$@" | cut -d' ' -f1-3 | sed "s|$T/||" | sort -u; }

@test "whatever a cluster does, no key and no token lies in etcd in the clear" {
	openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=escrow -keyout "$T/escrow-key.pem" -out "$T/escrow-cert.pem" 2>/dev/null
	cluster_pem
	cluster_begin e1
	learn
	on n1 token create --quiet >"$T/n2.token"
	learn_token "$T/n2.token"
	join_with n2 "$T/n2.token" --quiet
	daemon_up n2
	on n2 token create --quiet >"$T/n3.token" # whom n2 takes in, and nobody does
	learn_token "$T/n3.token"
	joined n3
	learn_token "$T/n3.token"
	learn
	authority "$T/ca"
	pair "$T/rsa" "$T/ca" key=rsa:2048
	pair "$T/ec" "$T/ca"
	on n2 cert set api --cert "$T/rsa-cert.pem" --key "$T/rsa-key.pem" --quiet
	drop_in n3 cm "$T/ec"
	wait_for 'live_everywhere cm "$T/ec-cert.pem"' $DEADLINE
	wait_for all_well 40
	on n1 cert csr proxy --out "$T/proxy.csr" --quiet
	learn
	sign "$T/proxy.csr" "$T/csr-cert.pem" "$T/ca" "$T/ec.ext" "$(when -1hour)" "$(when +60days)" sha256
	on n1 cert set proxy --cert "$T/csr-cert.pem" --quiet
	on n3 seal rotate --quiet
	learn
	on n2 cert renew --force --quiet
	on n1 rollback "$(($(number_of n1) - 1))" --quiet
	learn
	wait_for all_well 40
	on n1 node remove n3 --quiet
	stop n3
	learn
	[ "$(ls "$T/keys" | wc -l)" -gt 20 ]
	dump
	run found
	[ "$output" = "" ]

	# The hunt would have seen one in each place.
	key=$(ls "$T"/keys/* | head -n 1)
	etcd_put planted/pem <"$key"
	openssl pkey -in "$key" -outform DER | etcd_put planted/der
	openssl pkey -in "$key" -outform DER | od -An -v -tx1 | tr -d ' \n' | etcd_put planted/hex
	openssl pkey -in "$key" -outform DER | b64 | etcd_put planted/base64
	cut -d. -f3 <"$T/n2.token" | etcd_put planted/token
	openssl cms -decrypt -inform PEM -in "$T/escrow.cms" -inkey "$T/escrow-key.pem" | head -n 1 | etcd_put planted/kek
	forger n1
	forge_publish "$(forge_commit n2 "$(identity_of n2)" "$(forge_tree components/proxy/key.cms "$key")")"
	dump
	hunt files "$(NEEDLES)" "$T/dump" | cut -d' ' -f1-3 >"$T/seen"
	for what in 'dump/[0-9]*$' 'dump/objects' 'snap/db' '\.wal'; do grep -qE "${key##*/}:.*$what" "$T/seen"; done
	grep -q '^token .*snap/db' "$T/seen"
	grep -q '^kek-1 .*snap/db' "$T/seen"
	[ "$(grep "^${key##*/}:" "$T/seen" | cut -d' ' -f3 | grep -cE 'dump/[0-9]+$')" -ge 4 ]
}
