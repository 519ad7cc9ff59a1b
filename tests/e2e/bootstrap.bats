# The first node: init, whatever happens to it, and the certificates that it makes.
load lib

certificate() { openssl x509 -in "$CERTS/$1_cert.pem" -noout "${@:2}"; }
extension() { certificate "$1" -ext "$2" | tail -n +2 | tr -d ' \n'; }

@test "init makes five credentials, generation 1 and the live directory, without a daemon" {
	run -0 init
	[[ $output == *"generation 1"* ]]
	local names
	names=$(json cert list | jq -r '.certificates[].name' | tr '\n' ' ')
	[ "$names" = "api cm metrics_exporter proxy syncer " ]
	all_pairs_match
	[[ $(readlink "$CERTS/..data") == ..gen-1-* ]]
	[ "$(readlink "$CERTS/proxy_cert.pem")" = ..data/proxy_cert.pem ]
	[ "$(stat -c %a "$CERTS")" = 755 ]
	[ "$(stat -Lc %a "$CERTS/proxy_key.pem")" = 640 ]
	[ "$(stat -Lc %a "$CERTS/proxy.pem")" = 640 ]
	[ "$(stat -Lc %a "$CERTS/proxy_cert.pem")" = 644 ]
	[ "$(stat -c %a "$INCOMING" "$R/var/lib/lockstep/identity" | sort -u)" = 700 ]
	cat "$CERTS/proxy_key.pem" "$CERTS/proxy_cert.pem" | cmp - "$CERTS/proxy.pem"
	run -0 lockstep history verify
}

@test "init again says that it is done and changes nothing" {
	init
	state_of_files >"$T/before"
	run -0 init
	[[ $output == *already* ]]
	run -0 lockstep init --cluster other --fqdn other.example.com --node n2
	state_of_files | diff "$T/before" -
	[ "$(json init --cluster prod | jq -c '[.generation, .already]')" = '[1,true]' ]
	[ "$(find "$CERTS" -maxdepth 1 -name '..gen-*' | wc -l)" = 1 ]
}

@test "a generated certificate has the promised profile" {
	local serials="" name before after
	init
	for name in api cm metrics_exporter proxy syncer; do
		[ "$(extension $name subjectAltName)" = "DNS:$FQDN,DNS:*.$FQDN,DNS:internal.$FQDN,DNS:*.internal.$FQDN" ]
		[ "$(extension $name keyUsage)" = DigitalSignature ]
		[ "$(extension $name extendedKeyUsage)" = "TLSWebServerAuthentication,TLSWebClientAuthentication" ]
		[[ $(extension $name subjectKeyIdentifier) =~ ^([0-9A-F]{2}:){19}[0-9A-F]{2}$ ]]
		[[ $(certificate $name -serial) =~ ^serial=[0-7][0-9A-F]{31}$ ]]
		serials+="$(certificate $name -serial)"$'\n'
		[ "$(certificate $name -subject -nameopt RFC2253)" = "subject=O=prod,CN=$FQDN" ]
		[ "$(certificate $name -issuer -nameopt RFC2253)" = "issuer=O=prod,CN=$FQDN" ]
		openssl verify -partial_chain -CAfile "$CERTS/ca/$name.pem" "$CERTS/${name}_cert.pem"
		before=$(date -d "$(certificate $name -startdate | cut -d= -f2)" +%s)
		after=$(date -d "$(certificate $name -enddate | cut -d= -f2)" +%s)
		((EPOCHSECONDS - before >= 3600 && EPOCHSECONDS - before < 3660))
		((after - EPOCHSECONDS > 364 * 86400 && after - EPOCHSECONDS <= 365 * 86400))
		openssl pkey -in "$CERTS/${name}_key.pem" -noout -text | grep -q P-256
		head -1 "$CERTS/${name}_key.pem" | grep -qx -- '-----BEGIN PRIVATE KEY-----'
	done
	[ "$(printf %s "$serials" | sort -u | wc -l)" = 5 ]
}

@test "RSA and Ed25519 by template" {
	KEY_SPEC=rsa:2048 template proxy
	KEY_SPEC=rsa:3072 template api
	KEY_SPEC=ed25519 template cm
	init
	[ "$(extension proxy keyUsage)" = DigitalSignature,KeyEncipherment ]
	[ "$(extension cm keyUsage)" = DigitalSignature ]
	[ "$(json cert list | jq -r '.certificates | map(select(.name | IN("api", "cm", "proxy")).key) | join(" ")')" = "rsa:3072 ed25519 rsa:2048" ]
	openssl pkey -in "$CERTS/api_key.pem" -noout -text | grep -q '3072 bit'
	openssl pkey -in "$CERTS/cm_key.pem" -noout -text | grep -q ED25519
	all_pairs_match
}

@test "the chosen policy bounds what is generated" {
	lockstep init --cluster prod --fqdn $FQDN --node n1 --policy strict
	after=$(date -d "$(certificate proxy -enddate | cut -d= -f2)" +%s)
	((after - EPOCHSECONDS <= 47 * 86400 && after - EPOCHSECONDS > 46 * 86400))
}

@test "a sixth template is a sixth component, before init and after it" {
	template shard
	init
	[ "$(json cert list | jq '.certificates | length')" = 6 ]
	pair_matches shard
	start_daemon
	template queue
	kill -HUP "$(pid_of lockstepd)"
	wait_for 'is_generation 2' $DEADLINE
	wait_for healthy $DEADLINE
	[ "$(json cert list | jq '.certificates | length')" = 7 ]
	[ "$(json history -n 1 | jq -rc '.generations[0] | [.cause, .components]')" = '["template",["queue"]]' ]
	pair_matches queue
	all_pairs_match
	lockstep history verify
}

@test "bad names are refused, with nothing made" {
	run -3 lockstep init --cluster 'pr od' --fqdn $FQDN --node n1
	[[ $output == *"'pr od'"* ]]
	run -3 lockstep init --cluster prod --fqdn 'prod..com' --node n1
	[[ $output == *"prod..com"* ]]
	run -3 lockstep init --cluster prod --fqdn $FQDN --node 'N 1'
	[[ $output == *"N 1"* ]]
	run lockstep init --cluster prod --fqdn $FQDN --node n1 --policy nosuch
	[ "$status" = 1 ] || [ "$status" = 3 ]
	[[ $output == *nosuch* ]]
	run -2 lockstep init --fqdn $FQDN
	[ ! -e "$R/var" ]
	[ ! -e "$CERTS" ]
	init
}

@test "an operator's own files in the live directory stop init, until they are moved away" {
	mkdir -p "$CERTS"
	echo mine >"$CERTS/proxy_key.pem"
	run -3 init
	[[ $output == *proxy_key.pem* ]]
	[ "$(cat "$CERTS/proxy_key.pem")" = mine ]
	[ ! -e "$CERTS/..data" ]
	rm "$CERTS/proxy_key.pem"
	echo note >"$CERTS/README"
	init
	[ "$(cat "$CERTS/README")" = note ]
	all_pairs_match
}

@test "a template that cannot be read is refused with file and line" {
	template proxy
	sed -i '3a nonsense = 1;' "$TEMPLATES/proxy.conf"
	run -3 init
	[[ $output == *proxy.conf:4* ]]
	[[ $output == *nonsense* ]]
}

# Kills before the nth call of each kind that makes something lasting; then a second init must
# succeed on whatever the first left.
@test "init killed at any point can be run again" {
	local call n points=0
	for call in mkdir,mkdirat rename,renameat,renameat2 symlinkat fsync,fdatasync unlink,unlinkat write; do
		for n in 1 4 9 20 50; do
			rm -rf "$R"
			ships "$R"
			under_strace -e trace="$call" -e inject="$call:signal=KILL:when=$n" \
				"$E2E_BUILD/lockstep" --root "$R" init --cluster prod --fqdn $FQDN --node n1 --quiet \
				>"$T/out" 2>&1 && break
			points=$((points + 1))
			init --quiet || { echo "after $call $n"; return 1; }
			all_pairs_match || { echo "after $call $n"; return 1; }
			lockstep --quiet history verify || { echo "after $call $n"; return 1; }
			is_generation 1
			[ "$(find "$CERTS" -maxdepth 1 -name '..gen-*' | wc -l)" = 1 ]
			[ -z "$(find "$R/var" -name '*.lock' -o -name 'tmp_*' -o -name init-running)" ]
		done
	done
	echo "points: $points"
	[ "$points" -ge 20 ]
	start_daemon
}

@test "of two inits at once one makes the node, and both agree on it" {
	local i codes
	for i in 1 2 3; do
		rm -rf "$R"
		ships "$R"
		(code=0; init >"$T/a" 2>&1 3>&- || code=$?; echo $code >"$T/a.code") &
		(code=0; init >"$T/b" 2>&1 3>&- || code=$?; echo $code >"$T/b.code") &
		wait
		codes=$(sort -n "$T/a.code" "$T/b.code" | tr '\n' ' ')
		cat "$T/a" "$T/b"
		[ "$codes" = "0 0 " ] || [ "$codes" = "0 5 " ]
		is_generation 1
		all_pairs_match
		lockstep history verify
	done
}
