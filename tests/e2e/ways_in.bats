# Every way in for a certificate, and what is refused on it.
load lib

setup_file() {
	local d=$BATS_FILE_TMPDIR

	load lib
	authority "$d/root"
	authority "$d/sub" "$d/root"
	authority "$d/other"
	pair "$d/a" "$d/sub"
	pair "$d/b" "$d/sub"
	pair "$d/rsa" "$d/sub" key=rsa:2048
	cat "$d/a-cert.pem" "$d/sub-cert.pem" >"$d/a-chain.pem"
	cat "$d/b-cert.pem" "$d/sub-cert.pem" >"$d/b-chain.pem"
	cat "$d/rsa-cert.pem" "$d/sub-cert.pem" >"$d/rsa-chain.pem"
}

# The CA's files of this file's tests.
D() { echo "$BATS_FILE_TMPDIR/$1"; }
set_pair() { lockstep cert set "$1" --cert "$(D "$2-chain.pem")" --key "$(D "$2-key.pem")" "${@:3}"; }
sent() { grep -c 'BEGIN CERT' "$CERTS/$1_cert.pem"; }
intake_quickly() { # settle and patience for tests
	mkdir -p "${CONF%/*}"
	echo "intake = { settle_ms = ${1:-100}; patience_s = ${2:-20}; };" >"$CONF"
}
drop() { # COMPONENT PAIR: key first, as a careful operator does
	cp "$(D "$2-key.pem")" "$INCOMING/$1_key.pem"
	cp "$(D "$2-chain.pem")" "$INCOMING/$1_cert.pem"
}
reason() { cat "$REJECTED"/*/reason.txt; }
is_rejected() { compgen -G "$REJECTED/*/reason.txt"; }
no_key_in_rejected() { ! grep -rqs 'PRIVATE KEY' "$REJECTED"; }
# Nothing left that is looked at; what bears no component's name is put aside under a dot.
incoming_empty() { [ -z "$(ls "$INCOMING")" ]; }
# One line on standard error besides the hint, starting with the program.
one_line() { [ "$(grep -vc '^hint: ' <<<"$stderr")" = 1 ] && [[ $stderr == "lockstep: "* ]]; }

@test "cert set installs a pair, and says so everywhere" {
	node_up
	set_pair proxy a
	live_is proxy "$(D a-cert.pem)"
	[ "$(sent proxy)" = 2 ]
	[ "$(json cert show proxy | jq -r '.origin + " " + .state + " " + .sha256')" = "installed valid $(fingerprint "$(D a-cert.pem)")" ]
	[ "$(json history -n 1 | jq -rc '.generations[0] | [.generation, .cause, .components]')" = '[2,"operator",["proxy"]]' ]
	[ "$(json status | jq -r '.components[] | select(.name == "proxy") | (.desired == .disk)')" = true ]
	healthy
	run -0 set_pair proxy a
	[[ $output == *"nothing to do"* ]]
	is_generation 2
	lockstep history verify
}

@test "cert set takes PKCS#8, PKCS#1, SEC1 and encrypted keys, CRLF, and text between blocks" {
	node_up
	openssl rsa -in "$(D rsa-key.pem)" -traditional -out "$T/pkcs1.pem"
	openssl ec -in "$(D b-key.pem)" -out "$T/sec1.pem"
	openssl pkcs8 -topk8 -in "$(D a-key.pem)" -v2 aes-256-cbc -passout pass:secret -out "$T/locked.pem"
	echo secret >"$T/pass"
	grep -q 'BEGIN RSA PRIVATE' "$T/pkcs1.pem"
	grep -q 'BEGIN EC PRIVATE' "$T/sec1.pem"
	lockstep cert set proxy --cert "$(D rsa-chain.pem)" --key "$T/pkcs1.pem"
	live_is proxy "$(D rsa-cert.pem)"
	lockstep cert set proxy --cert "$(D b-chain.pem)" --key "$T/sec1.pem"
	live_is proxy "$(D b-cert.pem)"
	lockstep cert set proxy --cert "$(D a-chain.pem)" --key "$T/locked.pem" --passphrase-file "$T/pass"
	live_is proxy "$(D a-cert.pem)"
	# Whatever came in, PKCS#8 in the clear is what services get.
	[ "$(head -1 "$CERTS/proxy_key.pem")" = '-----BEGIN PRIVATE KEY-----' ]
	sed 's/$/\r/' "$(D b-chain.pem)" >"$T/crlf.pem"
	sed 's/$/\r/' "$(D b-key.pem)" >"$T/crlf-key.pem"
	lockstep cert set proxy --cert "$T/crlf.pem" --key "$T/crlf-key.pem"
	live_is proxy "$(D b-cert.pem)"
	! grep -q $'\r' "$CERTS/proxy_cert.pem"
	{
		openssl x509 -in "$(D a-cert.pem)" -text
		echo "subject=/CN=sub"
		cat "$(D sub-cert.pem)"
		echo "the end"
	} >"$T/text.pem"
	lockstep cert set proxy --cert "$T/text.pem" --key "$(D a-key.pem)"
	live_is proxy "$(D a-cert.pem)"
	[ "$(grep -vc -e '^[A-Za-z0-9+/=]*$' "$CERTS/proxy_cert.pem")" = 4 ]
}

@test "an encrypted key without its passphrase is refused in words" {
	node_up
	openssl pkcs8 -topk8 -in "$(D a-key.pem)" -v2 aes-256-cbc -passout pass:secret -out "$T/locked.pem"
	run -3 --separate-stderr lockstep cert set proxy --cert "$(D a-chain.pem)" --key "$T/locked.pem"
	one_line
	[[ $stderr == *locked.pem* && $stderr == *passphrase* ]]
	echo wrong >"$T/pass"
	run -3 --separate-stderr lockstep cert set proxy --cert "$(D a-chain.pem)" --key "$T/locked.pem" --passphrase-file "$T/pass"
	one_line
}

@test "a chain in any order is put in order; a root is kept for clients and not sent" {
	node_up
	cat "$(D root-cert.pem)" "$(D sub-cert.pem)" "$(D a-cert.pem)" >"$T/shuffled.pem"
	lockstep cert set proxy --cert "$T/shuffled.pem" --key "$(D a-key.pem)"
	live_is proxy "$(D a-cert.pem)"
	[ "$(sent proxy)" = 2 ]
	openssl verify -CAfile "$(D root-cert.pem)" -untrusted "$CERTS/proxy_cert.pem" "$CERTS/proxy_cert.pem"
	grep -qF "$(sed -n 2p "$(D root-cert.pem)")" "$CERTS/ca/proxy.pem"
	! grep -qF "$(sed -n 4p "$(D root-cert.pem)")" "$CERTS/proxy_cert.pem"
	openssl verify -CAfile "$CERTS/ca/proxy.pem" -untrusted "$CERTS/proxy_cert.pem" "$CERTS/proxy_cert.pem"
	# The chain as a file of its own.
	lockstep cert set api --cert "$(D b-cert.pem)" --key "$(D b-key.pem)" --chain "$(D sub-cert.pem)"
	[ "$(sent api)" = 2 ]
	live_is api "$(D b-cert.pem)"
	# The same chain once more, with the root that clients need; and again without, which takes nothing away.
	cat "$(D sub-cert.pem)" "$(D root-cert.pem)" >"$T/with-root.pem"
	lockstep cert set api --cert "$(D b-cert.pem)" --key "$(D b-key.pem)" --chain "$T/with-root.pem"
	grep -qF "$(sed -n 2p "$(D root-cert.pem)")" "$CERTS/ca/api.pem"
	live_is api "$(D b-cert.pem)"
	before=$(json status | jq .generation)
	lockstep cert set api --cert "$(D b-cert.pem)" --key "$(D b-key.pem)" --chain "$(D sub-cert.pem)"
	[ "$(json status | jq .generation)" = "$before" ]
	grep -qF "$(sed -n 2p "$(D root-cert.pem)")" "$CERTS/ca/api.pem"
}

@test "what cert set refuses: exit 3, one line with file, found and wanted, and nothing changed" {
	local d=$T/bad case words

	mkdir "$d"
	node_up
	pair "$d/expired" "$(D sub)" from="$(when -10days)" to="$(when -1day)"
	pair "$d/future" "$(D sub)" from="$(when +2days)"
	pair "$d/weak" "$(D sub)" key=rsa:1024
	pair "$d/sha1" "$(D sub)" md=sha1
	pair "$d/client" "$(D sub)" eku=clientAuth
	pair "$d/nosan" "$(D sub)" san=
	pair "$d/isca" "$(D sub)" ca=TRUE ku=keyCertSign,digitalSignature
	pair "$d/nosign" "$(D sub)" ku=keyAgreement
	cat "$(D a-cert.pem)" "$(D other-cert.pem)" >"$d/offpath-cert.pem"
	cp "$(D a-key.pem)" "$d/offpath-key.pem"
	cp "$(D a-cert.pem)" "$d/mismatch-cert.pem"
	cp "$(D b-key.pem)" "$d/mismatch-key.pem"
	sed '5s/^..../AAAA/' "$(D a-cert.pem)" >"$d/damaged-cert.pem"
	cp "$(D a-key.pem)" "$d/damaged-key.pem"
	echo nothing >"$d/empty-cert.pem"
	cp "$(D a-key.pem)" "$d/empty-key.pem"
	cp "$(D a-cert.pem)" "$d/nokey-cert.pem"
	echo nothing >"$d/nokey-key.pem"
	cat "$(D a-cert.pem)" "$(D a-cert.pem)" >"$d/twice-cert.pem"
	{ cat "$(D a-chain.pem)"; head -c 2000000 /dev/zero | tr '\0' x; } >"$d/large-cert.pem"
	cp "$(D a-key.pem)" "$d/large-key.pem"
	state_of_files >"$T/before"
	while read -r case words; do
		run -3 --separate-stderr lockstep cert set proxy --cert "$d/$case-cert.pem" --key "$d/$case-key.pem"
		echo "$case: $stderr"
		one_line
		[[ $stderr == *"$d/$case-"*.pem:* ]]
		for word in $words; do
			[[ $stderr == *"$word"* ]]
		done
	done <<-END
		expired expired found wanted RFC
		future yet found wanted RFC
		weak strength rsa:1024 wanted
		sha1 digest sha1 sha256
		client extended wanted serverAuth RFC
		nosan alternative found wanted RFC
		isca CA:TRUE wanted RFC
		nosign usage wanted digitalSignature RFC
		offpath wanted
		mismatch key
		damaged damaged
		empty found wanted
		nokey found wanted
		large wanted
	END
	# A certificate for another component's job: the syncer is a client too.
	pair "$d/server" "$(D sub)" eku=serverAuth
	run -3 --separate-stderr lockstep cert set syncer --cert "$d/server-cert.pem" --key "$d/server-key.pem"
	[[ $stderr == *clientAuth* ]]
	run -3 lockstep cert set nosuch --cert "$(D a-chain.pem)" --key "$(D a-key.pem)"
	[[ $output == *"'nosuch'"* ]]
	run -1 lockstep cert set proxy --cert "$T/nosuch.pem" --key "$(D a-key.pem)"
	run -3 lockstep cert set proxy --cert "$(D a-chain.pem)"
	[[ $output == *key* ]]
	state_of_files | diff "$T/before" -
	is_generation 1
	healthy
	# With -o json the same as an object.
	run -3 --separate-stderr json cert set proxy --cert "$d/expired-cert.pem" --key "$d/expired-key.pem"
	[ "$(jq -r '.error | .code + " " + (.message | test("expired") | tostring) + " " + (.hint | type)' <<<"$output")" = "refused true string" ]
	lockstep cert set syncer --cert "$(D a-chain.pem)" --key "$(D a-key.pem)"
}

@test "names that do not cover the cluster's are a warning, and refused where the policy says so" {
	node_up
	pair "$T/narrow" "$(D sub)" san=DNS:elsewhere.example.com
	run -0 --separate-stderr lockstep cert set proxy --cert "$T/narrow-cert.pem" --key "$T/narrow-key.pem"
	[[ $stderr == "warning: "*"$FQDN"* ]]
	stop lockstepd
	rm -rf "$R"
	ships "$R"
	init --policy strict --quiet
	start_daemon
	pair "$T/narrow2" "$(D sub)" san=DNS:elsewhere.example.com to="$(when +30days)"
	run -3 lockstep cert set proxy --cert "$T/narrow2-cert.pem" --key "$T/narrow2-key.pem"
	run -3 set_pair proxy a # 90 days
	[[ $output == *47* ]]
}

@test "cert set --from installs several components in one generation, or none" {
	node_up
	mkdir "$T/dir"
	cp "$(D a-chain.pem)" "$T/dir/proxy_cert.pem"
	cp "$(D a-key.pem)" "$T/dir/proxy_key.pem"
	cp "$(D b-chain.pem)" "$T/dir/metrics_cert.pem"
	cp "$(D b-key.pem)" "$T/dir/metrics_key.pem"
	cp "$(D rsa-chain.pem)" "$T/dir/api_cert.pem"
	cp "$(D a-key.pem)" "$T/dir/api_key.pem"
	state_of_files >"$T/before"
	run -3 --separate-stderr lockstep cert set --from "$T/dir"
	one_line
	[[ $stderr == *api_* ]]
	state_of_files | diff "$T/before" -
	cp "$(D rsa-key.pem)" "$T/dir/api_key.pem"
	lockstep cert set --from "$T/dir"
	is_generation 2
	live_is proxy "$(D a-cert.pem)"
	live_is metrics_exporter "$(D b-cert.pem)"
	live_is api "$(D rsa-cert.pem)"
	[ "$(json history -n 1 | jq -c '.generations[0].components | sort')" = '["api","metrics_exporter","proxy"]' ]
	mkdir "$T/nothing"
	run -1 lockstep cert set --from "$T/nothing"
	run -2 lockstep cert set proxy --from "$T/dir"
}

@test "files may be pipes or standard input; nothing is asked" {
	node_up
	lockstep cert set proxy --cert <(cat "$(D a-chain.pem)") --key <(cat "$(D a-key.pem)")
	live_is proxy "$(D a-cert.pem)"
	cat "$(D b-chain.pem)" "$(D b-key.pem)" | lockstep cert set proxy --cert -
	live_is proxy "$(D b-cert.pem)"
	lockstep cert set proxy --cert "$(D a-chain.pem)" --key - <"$(D a-key.pem)"
	live_is proxy "$(D a-cert.pem)"
}

@test "--dry-run judges and changes nothing" {
	node_up
	state_of_files >"$T/before"
	run -0 set_pair proxy a --dry-run
	[[ $output == *"nothing was changed"* ]]
	[ "$(json cert set proxy --cert "$(D a-chain.pem)" --key "$(D a-key.pem)" --dry-run | jq -c '[.dry_run, .generation, .changed]')" = '[true,1,["proxy"]]' ]
	run -3 lockstep cert set proxy --cert "$(D a-chain.pem)" --key "$(D b-key.pem)" --dry-run
	state_of_files | diff "$T/before" -
	set_pair proxy a
	state_of_files >"$T/before"
	run -0 lockstep rollback 1 --dry-run
	state_of_files | diff "$T/before" -
}

@test "--detach returns when the rotation has begun" {
	node_up
	run -0 set_pair proxy a --detach
	wait_for 'is_generation 2' $DEADLINE
	wait_for healthy $DEADLINE
	live_is proxy "$(D a-cert.pem)"
}

@test "a drop-in in incoming/ is taken, whichever half comes first" {
	intake_quickly
	node_up
	drop proxy a
	wait_for 'is_generation 2' 5
	live_is proxy "$(D a-cert.pem)"
	[ "$(json history -n 1 | jq -r '.generations[0].cause')" = drop-in ]
	cp "$(D b-chain.pem)" "$INCOMING/proxy_cert.pem"
	wait_for 'grep -q . "$INCOMING/proxy_cert.pem"' 1
	cp "$(D b-key.pem)" "$INCOMING/proxy_key.pem"
	wait_for 'is_generation 3' 5
	live_is proxy "$(D b-cert.pem)"
	cat "$(D rsa-key.pem)" "$(D rsa-chain.pem)" >"$INCOMING/metrics.pem"
	wait_for 'is_generation 4' 5
	live_is metrics_exporter "$(D rsa-cert.pem)"
	wait_for incoming_empty 5
	[ -z "$(ls -A "$REJECTED")" ]
	healthy
	# The same again is quietly consumed.
	drop proxy b
	wait_for incoming_empty 5
	is_generation 4
}

@test "drop-ins are found that came while the daemon was down" {
	intake_quickly
	init
	drop api a
	start_daemon
	wait_for 'is_generation 2' 5
	live_is api "$(D a-cert.pem)"
}

@test "a drop-in that is written slowly is taken once it is whole, not before" {
	intake_quickly 100 20
	node_up
	trickle "$(D a-chain.pem)" "$INCOMING/proxy_cert.pem" 3>&- &
	cert=$!
	trickle "$(D a-key.pem)" "$INCOMING/proxy_key.pem" 3>&- &
	wait $cert $!
	wait_for 'is_generation 2' 5
	live_is proxy "$(D a-cert.pem)"
	[ -z "$(ls -A "$REJECTED")" ]
}

@test "halves that never become whole are refused when patience ends, without their keys" {
	intake_quickly 100 2
	node_up
	state_of_files >"$T/before"
	cp "$(D a-key.pem)" "$INCOMING/api_key.pem"
	cp "$(D a-chain.pem)" "$INCOMING/proxy_cert.pem"
	cp "$(D b-key.pem)" "$INCOMING/proxy_key.pem"
	cp "$(D a-chain.pem)" "$INCOMING/cm_cert.pem"
	wait_for '[ "$(ls -A "$INCOMING" | wc -l)" = 4 ]' 1
	[ -z "$(ls -A "$REJECTED")" ]
	wait_for '[ "$(ls -d "$REJECTED"/*-proxy "$REJECTED"/*-api "$REJECTED"/*-cm | wc -l)" = 3 ]' 10
	wait_for incoming_empty 2
	for dir in "$REJECTED"/*; do
		[[ ${dir##*/} =~ ^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-(api|proxy|cm)$ ]]
		[ -s "$dir/reason.txt" ]
	done
	grep -qi 'key' "$REJECTED"/*-proxy/reason.txt
	[ -s "$(echo "$REJECTED"/*-proxy/proxy_cert.pem)" ]
	[ "$(stat -c %a "$REJECTED")" = 700 ]
	no_key_in_rejected
	state_of_files | diff "$T/before" -
	log_has 'refused drop-in .proxy'
}

@test "a refused drop-in has its reason in rejected/: whole, named, and no key" {
	intake_quickly 100 2
	node_up
	pair "$T/expired" "$(D sub)" from="$(when -10days)" to="$(when -1day)"
	cat "$T/expired-key.pem" "$T/expired-cert.pem" >"$INCOMING/proxy.pem"
	wait_for is_rejected 5
	wait_for incoming_empty 2
	[[ $(reason) == *"proxy.pem: expired: found"*"wanted"*RFC* ]]
	[ "$(reason | wc -l)" = 1 ]
	no_key_in_rejected
	rm -r "${REJECTED:?}"/*
	cp "$(D a-chain.pem)" "$INCOMING/nosuch_cert.pem"
	wait_for is_rejected 5
	[[ $(reason) == *component* ]]
	rm -r "${REJECTED:?}"/*
	echo hello >"$INCOMING/notes.txt"
	wait_for is_rejected 5
	wait_for incoming_empty 2
	[ "$(cat "$INCOMING"/.refused-*-notes.txt)" = hello ]
	rm -r "${REJECTED:?}"/*
	# Links are not followed; what they lead to stays.
	ln -s "$(D a-key.pem)" "$INCOMING/proxy_key.pem"
	wait_for is_rejected 5
	wait_for incoming_empty 2
	[ -s "$(D a-key.pem)" ]
	no_key_in_rejected
	is_generation 1
	healthy
}

@test "a directory, a FIFO and a hidden temporary in incoming/ harm nothing" {
	intake_quickly 100 2
	node_up
	mkdir "$INCOMING/proxy_cert.pem"
	mkfifo "$INCOMING/api_key.pem"
	cp "$(D a-key.pem)" "$INCOMING/.proxy_key.pem.tmp"
	wait_for '[ "$(ls "$REJECTED" | wc -l)" = 2 ]' 8
	[ -e "$INCOMING/.proxy_key.pem.tmp" ]
	drop proxy b
	wait_for 'is_generation 2' 8
	live_is proxy "$(D b-cert.pem)"
}

@test "a pair renamed over the live links is put in force, and the links are links again" {
	intake_quickly
	node_up
	cp "$(D a-key.pem)" "$CERTS/.new_key"
	cp "$(D a-chain.pem)" "$CERTS/.new_cert"
	mv "$CERTS/.new_key" "$CERTS/proxy_key.pem"
	mv "$CERTS/.new_cert" "$CERTS/proxy_cert.pem"
	wait_for '[ -L "$CERTS/proxy_key.pem" ] && [ -L "$CERTS/proxy_cert.pem" ]' 1
	wait_for 'is_generation 2' 5
	live_is proxy "$(D a-cert.pem)"
	[ "$(json history -n 1 | jq -r '.generations[0].cause')" = drop-in ]
	healthy
}

@test "a pair written through the live links is healed within a second and put in force" {
	local before

	intake_quickly
	node_up
	before=$(fingerprint "$CERTS/proxy_cert.pem")
	cat "$(D a-chain.pem)" >"$CERTS/proxy_cert.pem"
	wait_for '[ "$(fingerprint "$CERTS/proxy_cert.pem")" = '"$before"' ] && pair_matches proxy' 1
	cat "$(D a-key.pem)" >"$CERTS/proxy_key.pem"
	wait_for 'is_generation 2' 5
	live_is proxy "$(D a-cert.pem)"
	wait_for healthy 5
	all_pairs_match
}

@test "rubbish, deletion and a foreign link in the live directory are healed within a second" {
	intake_quickly 100 1
	node_up
	state_of_files >"$T/before"
	echo rubbish >"$CERTS/proxy_key.pem"
	wait_for 'state_of_files | diff "$T/before" -' 1
	rm "$CERTS/proxy_cert.pem"
	wait_for 'state_of_files | diff "$T/before" -' 1
	rm "$CERTS/..data/proxy.pem"
	wait_for 'state_of_files | diff "$T/before" -' 1
	ln -sfn "$(D a-key.pem)" "$CERTS/proxy_key.pem"
	wait_for 'state_of_files | diff "$T/before" - && [ "$(readlink "$CERTS/proxy_key.pem")" = ..data/proxy_key.pem ]' 1
	: >"$CERTS/ca/proxy.pem"
	wait_for 'state_of_files | diff "$T/before" -' 1
	chmod 666 "$CERTS/..data/proxy_key.pem"
	wait_for '[ "$(stat -Lc %a "$CERTS/proxy_key.pem")" = 640 ]' 1
	is_generation 1
	no_key_in_rejected
}

@test "an earlier certificate written over the live files is put back, not rotated to" {
	intake_quickly
	node_up
	set_pair proxy a
	set_pair proxy b
	cat "$(D a-key.pem)" >"$CERTS/proxy_key.pem"
	cat "$(D a-chain.pem)" >"$CERTS/proxy_cert.pem"
	wait_for 'log_has "replaced before"' 5
	live_is proxy "$(D b-cert.pem)"
	is_generation 3
}

@test "cert renew: only what is due, --force, and an operator's certificate only when told" {
	local before

	node_up
	run -0 lockstep cert renew
	[[ $output == *"nothing to do"* ]]
	is_generation 1
	before=$(fingerprint "$CERTS/proxy_cert.pem")
	lockstep cert renew proxy --force
	is_generation 2
	[ "$(fingerprint "$CERTS/proxy_cert.pem")" != "$before" ]
	set_pair proxy a
	run -3 lockstep cert renew proxy --force
	[[ $output == *--replace-installed* ]]
	live_is proxy "$(D a-cert.pem)"
	lockstep cert renew --force # all the others, in one generation
	live_is proxy "$(D a-cert.pem)"
	[ "$(json history -n 1 | jq -c '.generations[0].components | sort')" = '["api","cm","metrics_exporter","syncer"]' ]
	lockstep cert renew metrics --force
	[ "$(json history -n 1 | jq -c '.generations[0].components')" = '["metrics_exporter"]' ]
	lockstep cert renew proxy --force --replace-installed
	[ "$(json cert show proxy | jq -r .origin)" = generated ]
	run -3 lockstep cert renew nosuch
	all_pairs_match
	lockstep history verify
}

@test "cert csr, then the signed certificate alone" {
	local before

	node_up
	before=$(fingerprint "$CERTS/proxy_cert.pem")
	lockstep cert csr proxy --out "$T/proxy.csr"
	openssl req -in "$T/proxy.csr" -noout -verify -text >"$T/csr.txt" 2>&1
	grep -q "DNS:internal.$FQDN" "$T/csr.txt"
	[ "$(fingerprint "$CERTS/proxy_cert.pem")" = "$before" ] # the request alone changes nothing live
	[ "$(json cert show proxy | jq .open_request)" = true ]
	echo "subjectAltName=$SANS
		extendedKeyUsage=serverAuth,clientAuth" >"$T/ext"
	sign "$T/proxy.csr" "$T/signed.pem" "$(D sub)" "$T/ext" "$(when -1hour)" "$(when +90days)" sha256
	cat "$(D sub-cert.pem)" >>"$T/signed.pem"
	lockstep cert set proxy --cert "$T/signed.pem"
	live_is proxy "$T/signed.pem"
	[ "$(json cert show proxy | jq .open_request)" = false ]
	# Renewed for the same key, again without it; by drop-in as well.
	sign "$T/proxy.csr" "$T/again.pem" "$(D sub)" "$T/ext" "$(when -1hour)" "$(when +80days)" sha256
	cp "$T/again.pem" "$INCOMING/proxy_cert.pem"
	wait_for 'live_is proxy "$T/again.pem"' 5
	lockstep cert csr api | openssl req -noout -subject
	run -3 lockstep cert csr nosuch
	lockstep history verify
	! git --git-dir="$R/var/lib/lockstep/history.git" log -p | grep -q 'PRIVATE KEY'
}

@test "rladmin cluster certificate set, as typed" {
	node_up
	cd "$T"
	cp "$(D a-chain.pem)" cm_cert.pem
	cp "$(D a-key.pem)" cm_key.pem
	cat "$(D b-key.pem)" "$(D b-chain.pem)" >chain.pem
	as_rladmin cluster certificate set cm certificate_file cm_cert.pem key_file cm_key.pem
	live_is cm cm_cert.pem
	as_rladmin cluster certificate set proxy certificate_file chain.pem
	live_is proxy "$(D b-cert.pem)"
	as_rladmin cluster certificate set metrics certificate_file chain.pem
	live_is metrics_exporter "$(D b-cert.pem)"
	run -3 as_rladmin cluster certificate set nosuch certificate_file chain.pem
	run -2 as_rladmin cluster certificate set proxy
	run -2 as_rladmin cluster certificate
	run -2 as_rladmin
}

@test "usage errors are exit 2, and --help is not" {
	run -2 lockstep
	run -2 lockstep nosuch
	[[ $output == *nosuch* ]]
	run -2 lockstep cert nosuch
	run -2 lockstep status --nosuch
	[[ $output == *--nosuch* ]]
	run -2 lockstep --nosuch status
	run -2 lockstep cert set
	run -2 lockstep cert set proxy
	run -2 lockstep cert set proxy --cert
	run -2 lockstep rollback
	run -2 lockstep rollback x
	run -2 lockstep -o yaml status
	run -2 lockstep --timeout never status
	run -2 lockstep status too many
	run -2 "$E2E_BUILD/lockstepd" --nosuch
	local verb
	for verb in init status "cert list" "cert show" "cert set" "cert renew" "cert csr" history \
		"history show" "history verify" rollback "seal rotate" "seal forget" "seal export"; do
		# shellcheck disable=SC2086
		run -0 lockstep $verb --help
		[[ $output == "usage: lockstep $verb"* ]]
	done
	run -0 lockstep --help
	run -0 lockstep --version
	run -0 "$E2E_BUILD/lockstepd" --version
}

@test "without a daemon: changes exit 4 and say so, reads work" {
	init
	run -4 --separate-stderr set_pair proxy a
	[[ $stderr == lockstep:*hint:* ]]
	run -4 --separate-stderr json cert renew
	[ "$(jq -r .error.code <<<"$output")" = unreachable ]
	run -0 lockstep cert list
	run -0 lockstep history
	run -0 lockstep history verify
	run -1 lockstep status
	live_is proxy "$CERTS/proxy_cert.pem"
}

@test "-o json of every verb parses and has the promised keys" {
	node_up
	set_pair proxy a
	has() { jq -e "$1" >/dev/null; } # all of the keys, of what jq is given
	json status | has 'has("cluster") and has("node") and has("generation") and has("commit") and has("store") and has("healthy") and has("rotation")'
	json status | has '.nodes[0] | has("name") and has("alive") and has("generation") and has("commit") and has("ready")'
	json status | has '.components | length == 5 and all(has("name") and has("origin") and has("not_before") and has("not_after") and (.desired | test("^[0-9a-f]{64}$")) and (.disk == .desired) and .served == null)'
	json cert list | has '.certificates | all(has("name") and has("subject") and has("issuer") and (.sans | length > 0) and has("key") and has("origin") and (.not_before | fromdate > 0) and (.not_after | fromdate > now) and has("serial") and (.sha256 | test("^[0-9a-f]{64}$")) and .state == "valid")'
	json cert show proxy | has '.name == "proxy" and (.chain | test("BEGIN CERTIFICATE"))'
	json history | has '.generations | (map(.generation) == [2, 1]) and all((.commit | test("^[0-9a-f]{40,64}$")) and has("author") and has("committer") and (.time | fromdate > 0) and has("cause") and (.components | type == "array") and has("message"))'
	json history show 1 | has '.generation == 1'
	json history verify | has '.verified and .generations == 2'
	json history proxy -n 1 | has '.generations | length == 1'
	json cert renew | has '.unchanged'
	json cert renew api --force | has '.generation == 3'
	json cert csr api | has '.request | test("BEGIN CERTIFICATE REQUEST")'
	json rollback 1 | has '.generation == 5'
	json seal rotate | has '.epoch == 2'
	json seal export --to "$(D a-cert.pem)" | has '.escrow | test("BEGIN CMS")' || json seal export --to "$(D rsa-cert.pem)" | has '.escrow | test("BEGIN")'
	json seal forget 1 | has '.generation == 7'
	json init --cluster prod | has '.already'
	lockstep history verify
}
