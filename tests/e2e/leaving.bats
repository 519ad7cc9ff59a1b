#!/usr/bin/env bats
# A machine that was removed, with all that it had: it reads nothing that is new, and nobody believes what it writes.

load lib
load etcd
load cluster
load forge

git_of() { git --no-pager --git-dir="$(history_of "$1")" "${@:2}"; }
key_of_live() { key_id "$T/$1/etc/lockstep/certs/$2_key.pem"; } # NODE COMPONENT
not() { ! "$@" >/dev/null 2>&1; } # where set -e looks
said() { grep -qE -- "$2" "$T/$1.log"; }

# Three nodes, an operator's certificate for api, a token that nobody used; and a copy of all that n3 has.
three() {
	cluster_pem
	ROTATION="away_after_s = 3; vote_s = 12; served_s = 2;" LEASE_S=8 cluster_up 3
	authority "$T/ca"
	pair "$T/api" "$T/ca"
	on n1 cert set api --cert "$T/api-cert.pem" --key "$T/api-key.pem" --quiet
	on n1 token create --quiet >"$T/old.token"
	wait_for "all_at 4" $DEADLINE
	wait_for all_well 40
	mkdir "$T/before"
	for file in "$T"/n1/etc/lockstep/certs/*_key.pem; do cp "$file" "$T/before/"; done
	cp -a "$T/n3" "$T/stolen"
	n3_live=$(use n3 && state_of_files)
}
# As docs/recovery.md opens wraps; each of n3's keys is tried.
opens_wrap() { # WRAP-FILE: the KEK in hex
	local key

	openssl cms -verify -inform PEM -in "$1" -binary -noverify -out "$T/opened.der" 2>/dev/null || return 1
	for key in "$(identity_of stolen)"/wrapping-*-key.pem "$(identity_of n3)"/wrapping-*-key.pem; do
		openssl cms -decrypt -inform DER -in "$T/opened.der" -inkey "$key" -recip "${key%-key.pem}-cert.pem" 2>/dev/null &&
			return 0
	done
	return 1
}
opens_key() { # COMMIT COMPONENT KEK EPOCH
	git_of n1 show "$1:components/$2/key.cms" |
		openssl cms -decrypt -inform PEM -secretkey "$3" -secretkeyid "$(printf %08x "$4")" 2>/dev/null | grep -q 'PRIVATE KEY'
}
components() { git_of n1 ls-tree --name-only main:components; }

reads_nothing_new() {
	local key kek name

	# What it had does open what was: the hands that try are able.
	kek=$(opens_wrap "$T/stolen/var/lib/lockstep/store/kek/1-n3.cms")
	opens_key main~1 proxy "$kek" 1
	for key in $(etcd_keys kek/); do
		etcd_get "${key#"$(etcd_prefix)"}" >"$T/wrap"
		case $key in
		*/kek/1/n3-*) opens_wrap "$T/wrap" >/dev/null ;;
		*/kek/2/n3*) return 1 ;;
		*) not opens_wrap "$T/wrap" ;;
		esac
	done
	for name in $(components); do
		not opens_key main "$name" "$kek" 1
		not opens_key main "$name" "$kek" 2
	done
	git_of n1 show main:cluster/ca-key.cms >"$T/ca-key.cms"
	not openssl cms -decrypt -inform PEM -in "$T/ca-key.cms" -secretkey "$kek" -secretkeyid 00000001
	not openssl cms -decrypt -inform PEM -in "$T/ca-key.cms" -secretkey "$kek" -secretkeyid 00000002
	# Whoever stayed does open it.
	on n2 seal export --to "$T/escrow-cert.pem" >"$T/escrow.cms"
	openssl cms -decrypt -inform PEM -in "$T/escrow.cms" -inkey "$T/escrow-key.pem" -out "$T/keks"
	for name in $(components); do opens_key main "$name" "$(sed -n 's/^2 //p' "$T/keks")" 2; done
}

is_told_and_still() {
	wait_for 'said n3 "this node, .n3., was removed from the cluster"' $DEADLINE
	run on n3 status
	[ "$status" = 1 ]
	[[ $output == *"was removed from the cluster"* ]]
	for words in "cert renew --force" "seal rotate" "token create" "node remove n2"; do
		run on n3 $words
		[ "$status" -ne 0 ]
		[[ $output == *"was removed"* ]]
	done
	# Started anew from what it was, it comes to the same.
	stop n3
	rm -rf "$T/n3"
	cp -a "$T/stolen" "$T/n3"
	rm -rf "$T/n3/run"
	daemon_up n3
	run on n3 cert renew --force
	[ "$status" -ne 0 ]
	[ "$(use n3 && state_of_files | grep -v '^[0-9a-f]\{40\}$')" = "$(grep -v '^[0-9a-f]\{40\}$' <<<"$n3_live")" ]
}

is_not_believed() {
	local g tree commit nonce record

	g=$(git_of n1 rev-list --count main)
	before=$(use n1 && state_of_files)
	record=$(etcd_get record)
	body_of record | put_signed record n3 "$(identity_of stolen)"
	wait_for 'said n1 "record. is not believed: .n3. is no member" && said n2 "record. is not believed: .n3. is no member"' $DEADLINE
	printf %s "$record" | etcd_put record
	wait_for "on n1 status --quiet && on n2 status --quiet" 40
	# A change with the keys that it knew, begun by itself, in a record that it signed.
	forger n1
	tree=$(forge_tree components/proxy/chain.pem <(git_of n1 show main~1:components/proxy/chain.pem))
	commit=$(forge_commit n3 "$(identity_of stolen)" "$tree")
	forge_publish "$commit"
	nonce=$(nonce)
	begin_body n3 "$commit" "$(fgit rev-parse main)" "$((g + 1))" "$nonce" '["n1","n2"]' >"$T/begin"
	put_signed begin n3 "$(identity_of stolen)" <"$T/begin"
	record_with "$(cat "$T/begin")" voting | put_signed record n3 "$(identity_of stolen)"
	: >"$T/n1.log"
	wait_for 'said n1 "record. is not believed" || [ -s "$T/n2.log" ]' $DEADLINE
	[ -z "$(etcd_keys vote/)" ]
	# The same, in a record that a member signed: the begin is not believed.
	record_with "$(cat "$T/begin")" voting >"$T/body" || true
	printf %s "$record" | etcd_put record
	record_with "$(cat "$T/begin")" voting | put_signed record n1 "$(identity_of n1)"
	wait_for 'said n2 "begin. is not believed: .n3. is no member"' $DEADLINE
	[ -z "$(etcd_keys vote/)" ]
	printf %s "$record" | etcd_put record
	etcd_delete begin
	# Notes: what it offers for the next epoch, that it is here, a token of its own.
	for name in offer/3/n3 alive/n3; do
		jq -cn --arg text "$(cat "$(identity_of stolen)/wrapping-1-cert.pem")" '{text: $text}' |
			put_signed "note/$name" n3 "$(identity_of stolen)"
	done
	wait_for "on n1 status --quiet && on n2 status --quiet" 40
	[ "$(on_json n1 status | jq -r '.nodes[].name' | xargs)" = "n1 n2" ]
	on n1 seal rotate --quiet
	[ -z "$(etcd_keys kek/3/n3)" ]
	[ "$(git_of n1 rev-list --count main)" = $((g + 1)) ]
}

# The secret of every token that was there lay in etcd, under a key that the machine had.
tokens_are_over() {
	run join_with n8 "$T/old.token"
	[ "$status" = 3 ]
	[[ $output == *"unknown, expired or used"* || $output == *"fingerprint"* ]]
	joined n4
}

@test "node remove: what is new is not readable to it, and nothing that it writes is believed" {
	openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=escrow -keyout "$T/escrow-key.pem" -out "$T/escrow-cert.pem" 2>/dev/null
	three
	on n1 node remove n3 --quiet
	wait_for "all_at 5 n1 n2" $DEADLINE
	for name in $(components); do
		if [ "$name" = api ]; then
			[ "$(key_of_live n2 api)" = "$(key_id "$T/before/api_key.pem")" ] # an operator's, who decides
		else
			[ "$(key_of_live n2 "$name")" != "$(key_id "$T/before/${name}_key.pem")" ]
		fi
	done
	[ "$(git_of n1 rev-parse main:cluster/ca.pem)" = "$(git_of n1 rev-parse main~1:cluster/ca.pem)" ]
	reads_nothing_new
	is_told_and_still
	is_not_believed
	stop n3
	rm -rf "$T/n3" # so that it is not counted
	tokens_are_over
	on n2 history verify --quiet
}

@test "node remove --compromised: also a new CA, and installed keys are a problem until they are others" {
	openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=escrow -keyout "$T/escrow-key.pem" -out "$T/escrow-cert.pem" 2>/dev/null
	three
	on n1 node remove n3 --compromised --quiet
	wait_for "all_at 5 n1 n2" $DEADLINE
	for name in $(components); do
		[ "$name" = api ] || [ "$(key_of_live n2 "$name")" != "$(key_id "$T/before/${name}_key.pem")" ]
	done
	[ "$(git_of n1 show main:cluster/ca.pem | openssl x509 -noout -fingerprint)" != \
		"$(git_of n1 show main~1:cluster/ca.pem | openssl x509 -noout -fingerprint)" ]
	reads_nothing_new
	run on n2 status
	[ "$status" = 1 ]
	[[ $output == *"api: its key is known to a compromised node that was removed"* ]]
	# Another certificate of the same key does not help, another key does.
	openssl x509 -req -in "$T/api.csr" -CA "$T/ca-cert.pem" -CAkey "$T/ca-key.pem" -days 30 -extfile "$T/api.ext" -out "$T/same-cert.pem" 2>/dev/null
	run on n1 cert set api --cert "$T/same-cert.pem" --key "$T/api-key.pem"
	[[ $output == *"still the one that a compromised node knew"* ]]
	run on n2 status
	[[ $output == *"api: its key is known"* ]]
	pair "$T/new" "$T/ca"
	on n1 cert set api --cert "$T/new-cert.pem" --key "$T/new-key.pem" --quiet
	run on n2 status
	[[ $output != *"api: its key is known"* ]]
	is_told_and_still
}
