#!/usr/bin/env bats
# Whoever can write etcd can stop a cluster, never deceive it. One cluster of three nodes for all of these: what is forged
# is written straight into etcd with a client certificate that is good, by a stranger, by who replays what was true once, or
# by a member whose identity was stolen. No node may change anything live, each says what it saw, and the cluster goes on.

load lib
load etcd
load cluster
load forge

setup_file() {
	BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR lib_setup
	cluster_pem
	for node in n1 n2 n3; do mkdir -p "$T/$node/etc/lockstep/templates"; done
	LEASE_S=12 ROTATION="away_after_s = 3; vote_s = 20; served_s = 2; timeout_s = 15;" cluster_up 3
	forge_keys
}
teardown_file() {
	T=$BATS_FILE_TMPDIR
	PIDS=$T/pids
	stop_all
}
eval "lib_$(declare -f setup)"
setup() {
	T=$BATS_FILE_TMPDIR
	PIDS=$T/pids
	ETCD_DIR=$T/etcd
	export T ETCD_DIR
	export ASAN_OPTIONS="exitcode=86:log_path=$T/asan:detect_leaks=1"
	export UBSAN_OPTIONS="exitcode=86:halt_on_error=1:print_stacktrace=1:log_path=$T/asan"
	use n1
	cluster_pem
	for node in n1 n2 n3; do
		[ ! -e "$T/$node.pid" ] || ! gone "$(pid_of "$node")" || daemon_up "$node" # a test before failed
	done
	wait_for all_well 40
	G=$(number_of n1)
	before=$(live_state)
	for node in n1 n2 n3; do : >"$T/$node.log"; done
	etcd_get record >"$T/record"
	forger n1
}
teardown() {
	local failed=0

	if compgen -G "$T/asan*" >/dev/null; then
		cat "$T"/asan*
		rm -f "$T"/asan*
		failed=1
	fi
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		for node in n1 n2 n3; do
			echo "--- $node:"
			tail -n 15 "$T/$node.log"
			kill -CONT "$(pid_of "$node")" || true
		done
		body_of record || true
		etcd_put record <"$T/record"
	fi
	return $failed
}

# What must stay as it is on every node.
live_state() {
	local node

	for node in n1 n2 n3; do
		(
			use "$node"
			state_of_files
		)
	done
}
unchanged() { [ "$(live_state)" = "$before" ]; }
said() { grep -qE -- "$2" "$T/$1.log"; } # NODE WHAT
all_said() { # WHAT
	local node

	for node in n1 n2 n3; do said "$node" "$1" || return 1; done
}
# Refused by all, with words; every daemon is there.
refused() { # WHAT
	WANT=$1
	wait_for 'all_said "$WANT"' $DEADLINE
	unchanged
	for node in n1 n2 n3; do on "$node" history -n 1 >/dev/null; done
}
# A change by any node, and all are at it.
goes_on() { # [FROM-GENERATION]
	local from=${1:-$G}

	wait_for all_well 40
	unchanged || [ $# -gt 0 ]
	on n1 cert renew --force proxy --quiet
	wait_for "all_at $((from + 1))" $DEADLINE
	for node in n1 n2 n3; do on "$node" history verify --quiet; done
}
outcome() { body_of record | jq -r '.last.result + ": " + .last.why'; }
ended() { idle && [ "$(body_of record | jq -r .last.nonce)" = "$NONCE" ]; }
idle() { [ "$(body_of record | jq -c .rotation)" = null ]; }

# The KEK, and a certificate of a component with its key sealed under it: a change that only a member could make.
forge_keys() {
	openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=escrow -keyout "$T/escrow-key.pem" \
		-out "$T/escrow-cert.pem" 2>/dev/null
	on n1 seal export --to "$T/escrow-cert.pem" >"$T/escrow.cms"
	openssl cms -decrypt -inform PEM -in "$T/escrow.cms" -inkey "$T/escrow-key.pem" -out "$T/keks"
}
kek() { sed -n "s/^$1 //p" "$T/keks"; } # EPOCH
# chain.pem and key.cms as the state has them.
forge_credential() { # NAME [OPENSSL-REQ WORDS…]
	local name=$1

	shift
	openssl req -x509 -noenc -keyout "$T/$name-key.pem" -out "$T/$name-chain.pem" -subj "/CN=$FQDN/O=prod" \
		-addext "subjectAltName=$SANS" -addext extendedKeyUsage=serverAuth,clientAuth \
		-addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature "$@" 2>/dev/null
	openssl cms -encrypt -binary -aes-256-gcm -secretkey "$(kek 1)" -secretkeyid 00000001 -outform PEM \
		-in "$T/$name-key.pem" -out "$T/$name-key.cms"
}
forge_change() { # NAME [OPENSSL-REQ WORDS…]: a tree with it as proxy's
	forge_credential "$@"
	forge_tree components/proxy/chain.pem "$T/$1-chain.pem" components/proxy/key.cms "$T/$1-key.cms" \
		trust/proxy.pem "$T/$1-chain.pem"
}
good_change() { forge_change "$1" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 90; }

@test "the forger's tools make a change that the cluster takes, when a member signs it and nothing is wrong" {
	tree=$(good_change good)
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree")
	forge_publish "$commit"
	begin_as n2 "$commit"
	wait_for "all_at $((G + 1))" $DEADLINE
	[ "$(commit_of n3)" = "$commit" ]
	live_everywhere proxy "$T/good-chain.pem"
	wait_for idle $DEADLINE
	[ "$(outcome)" = "done: " ]
	goes_on $((G + 1))
}

@test "a record that nobody signed" {
	body_of record | jq -c '.tip.generation += 1' | etcd_put record
	refused "record' is not signed"
	jq -c '.body |= (fromjson | .tip.generation += 1 | tojson) | .signature = ""' "$T/record" | etcd_put record
	refused "record' is not believed"
	echo -n '{"body":' | etcd_put record
	etcd_put record <"$T/record"
	goes_on
}

@test "a record signed by a stranger whose certificate looks like a member's" {
	body_of record | signed record n2 "$(stranger n2)" | etcd_put record
	refused "record' is not believed: it was not signed by 'n2'"
	body_of record | signed record n9 "$(stranger n9)" | etcd_put record
	refused "record' is not believed: 'n9' is no member"
	# n2's own word in n1's name
	body_of record | signed record n1 "$(identity_of n2)" | etcd_put record
	refused "record' is not believed: it was not signed by 'n1'"
	etcd_put record <"$T/record"
	goes_on
}

@test "a record moved there from another key" {
	body_of record | signed note/record n2 "$(identity_of n2)" | etcd_put record
	refused "record' is not believed: "
	body_of record | signed note/record n2 "$(identity_of n2)" | etcd_put note/record
	etcd_delete note/record
	etcd_get note/alive/n1 | etcd_put record
	refused "record' is not believed: "
	etcd_put record <"$T/record"
	goes_on
}

# Begun in n2's name while n2 stands still: both others judge it, and each says what it found.
begin_held() { # COMMIT [PARENT [GENERATION]]
	kill -STOP "$(pid_of n2)"
	begin_as n2 "$@"
}
voted_no() { # NODE WHAT
	etcd_get "vote/$NONCE/$1" | jq -r '.body | fromjson | "\(.yes) \(.reason)"' | grep -qE "^false .*$2"
}
both_refuse() { # WHAT
	WHAT=$1
	wait_for 'voted_no n1 "$WHAT"' $DEADLINE
	wait_for 'voted_no n3 "$WHAT"' $DEADLINE
	kill -CONT "$(pid_of n2)"
	wait_for ended $DEADLINE
	unchanged
	[[ "$(outcome)" == "aborted: "* ]]
	wait_for all_well 40
}

@test "a commit whose signer its parent does not list" {
	tree=$(good_change unlisted)
	commit=$(forge_commit n2 "$(stranger n2)" "$tree")
	forge_publish "$commit"
	begin_held "$commit"
	both_refuse "commit ${commit:0:12}: the signer is not a member in the parent.s tree"
	# A member's commit in another member's name.
	commit=$(forge_commit n1 "$(identity_of n2)" "$tree")
	forge_publish "$commit"
	begin_held "$commit"
	both_refuse "the committer is .n1 <n1@prod>., the signer .n2."
	goes_on
}

@test "a member begins a commit that has another parent than it says: the sibling of what is in force" {
	tree=$(good_change sibling)
	tip=$(fgit rev-parse main)
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree" main~1)
	forge_publish "$commit" main~1
	begin_held "$commit" "$tip"
	both_refuse "commit ${commit:0:12} does not follow generation $G .${tip:0:12}"
	# With the number that it should have.
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree" main~1 "$((G + 1))")
	forge_publish "$commit" main~1
	begin_held "$commit" "$tip"
	both_refuse "does not follow generation $G"
	# And said openly.
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree" main~1)
	forge_publish "$commit" main~1
	begin_held "$commit" "$(fgit rev-parse main~1)" "$G"
	both_refuse "does not follow"
	goes_on
}

@test "a tree that breaks the policy, or whose key is not of its certificate, signed by a member" {
	tree=$(forge_change weak -newkey rsa:1024 -days 90)
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree")
	forge_publish "$commit"
	begin_held "$commit"
	both_refuse "1024"
	good_change pair
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$T/other-key.pem"
	openssl cms -encrypt -binary -aes-256-gcm -secretkey "$(kek 1)" -secretkeyid 00000001 -outform PEM \
		-in "$T/other-key.pem" -out "$T/other-key.cms"
	tree=$(forge_tree components/proxy/chain.pem "$T/pair-chain.pem" components/proxy/key.cms "$T/other-key.cms" \
		trust/proxy.pem "$T/pair-chain.pem")
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree")
	forge_publish "$commit"
	begin_held "$commit"
	both_refuse "proxy.*key"
	goes_on
}

@test "a pack that is not what it is called, or not whole" {
	tree=$(good_change pack)
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree")
	other=$(forge_commit n2 "$(identity_of n2)" "$(good_change another)")
	forge_publish "$other"
	etcd_put "pack/$commit/00" <"$T/forge.pack"
	stat -c %s "$T/forge.pack" | tr -d '\n' | etcd_put "pack/$commit/size"
	begin_held "$commit"
	both_refuse "."
	forge_publish "$commit"
	head -c -30 "$T/forge.pack" | etcd_put "pack/$commit/00"
	begin_held "$commit"
	both_refuse "not whole"
	begin_held 0123456789012345678901234567890123456789
	both_refuse "no pack"
	goes_on
}

# What was signed once, put back when it is past.
@test "a rotation that was aborted, and one that was done, are begun again by who kept what was in etcd" {
	kill -STOP "$(pid_of n3)"
	start change "$E2E_BUILD/lockstep" --root "$T/n1" cert renew --force proxy --quiet
	wait_for '[ "$(etcd_keys vote/ | wc -l)" = 2 ]' $DEADLINE
	etcd_dump "$T/voting"
	kill -CONT "$(pid_of n3)"
	wait_for "gone $(pid_of change)" 40
	wait_for all_well 40
	G=$(number_of n1)
	before=$(live_state)
	: >"$T/n1.log"
	etcd_replay "$T/voting" begin vote/ pack/
	etcd_replay "$T/voting" record
	# The record is an older one than what the nodes have: they put it forward, and nothing is done.
	wait_for '[ "$(body_of record | jq .tip.generation)" = "$G" ]' $DEADLINE
	wait_for idle $DEADLINE
	unchanged
	goes_on
	G=$(number_of n1)
	before=$(live_state)
	on n1 cert renew --force api --quiet
	before=$(live_state)
	G=$((G + 1))
	etcd_replay "$T/voting" begin vote/ pack/
	etcd_replay "$T/voting" record
	wait_for '[ "$(body_of record | jq .tip.generation)" = "$G" ]' $DEADLINE
	unchanged
	goes_on
}

@test "an older record, while every daemon is started anew: nothing live goes back" {
	cp "$T/record" "$T/older"
	on n1 cert renew --force proxy --quiet
	wait_for "all_at $((G + 1))" $DEADLINE
	before=$(live_state)
	for node in n1 n2 n3; do stop "$node"; done
	etcd_put record <"$T/older"
	for node in n1 n2 n3; do daemon_up "$node"; done
	wait_for '[ "$(body_of record | jq .tip.generation)" = $((G + 1)) ]' $DEADLINE
	unchanged
	goes_on $((G + 1))
}

@test "a record that names what was voted down, signed by a member, while every daemon is started anew" {
	tree=$(forge_change down -newkey rsa:1024 -days 90)
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree")
	forge_publish "$commit"
	for node in n1 n2 n3; do
		stop "$node"
		git --git-dir="$(history_of "$node")" unpack-objects -q <"$T/forge.pack" # as it is before an abort
	done
	body_of record | jq -c --arg c "$commit" '.tip |= {commit: $c, generation: (.generation + 1), dir_commit, dir_generation}' |
		put_signed record n2 "$(identity_of n2)"
	for node in n1 n2 n3; do daemon_up "$node"; done
	wait_for 'all_said "nothing shows that generation .* was decided"' $DEADLINE
	# A live file that was tampered with is healed by what is in force.
	echo x >"$T/n1/etc/lockstep/certs/..data/proxy_cert.pem"
	wait_for unchanged $DEADLINE
	etcd_put record <"$T/record"
	goes_on
}

# It waits for n3; on a slow machine it was ended meanwhile because n3 is away, and begun again without it.
was_not_decided() {
	local now

	now=$(body_of record | jq -r '.rotation.nonce + " " + .rotation.phase')
	[[ $now == "$NONCE voting" || $now != "$NONCE "* ]]
	[ "$(etcd_get "$(decided $((G + 1)))" | jq -r '.begin | fromjson.body | fromjson.nonce' 2>/dev/null)" != "$NONCE" ]
}
@test "votes of an earlier rotation" {
	on n1 cert renew --force api --quiet # by all three
	G=$((G + 1))
	wait_for "all_at $G" $DEADLINE
	before=$(live_state)
	kill -STOP "$(pid_of n3)"
	start change "$E2E_BUILD/lockstep" --root "$T/n1" cert renew --force proxy --quiet
	wait_for '[ "$(etcd_keys vote/ | wc -l)" = 2 ]' $DEADLINE
	NONCE=$(body_of record | jq -r .rotation.nonce)
	etcd_get "decided/$(printf %012d "$G")" | jq -r '.votes[2]' | etcd_put "vote/$NONCE/n3"
	# Its own word for another node, and a yes that nobody signed.
	[ "$(etcd_get "vote/$NONCE/n3" | jq -r '.by + " " + (.body | fromjson | .yes | tostring)')" = "n3 true" ]
	looked=$(date +%s)
	wait_for '[ $(($(date +%s) - looked)) -ge 2 ]' $DEADLINE # each event and a timer make n1 look
	was_not_decided
	etcd_get "vote/$NONCE/n2" | etcd_put "vote/$NONCE/n3"
	etcd_get "vote/$NONCE/n2" | jq -c '.by = "n3" | .body |= (fromjson | .node = "n3" | tojson)' | etcd_put "vote/$NONCE/n3"
	was_not_decided
	etcd_delete "vote/$NONCE/n3"
	kill -CONT "$(pid_of n3)"
	wait_for "gone $(pid_of change)" 40
	wait_for all_well 40
	goes_on "$(number_of n1)"
}

# A member's word that others voted: in the record, and as the only one who takes part.
@test "a member speaks for the others: votes in the record, and a begin in which it is alone" {
	tree=$(good_change alone)
	commit=$(forge_commit n2 "$(identity_of n2)" "$tree")
	forge_publish "$commit"
	# n1 refuses it for reasons of its own, when all is staged: so only the last step is left to be fooled.
	begin_held_validated "$commit"
	ballot='{"node": "n1", "yes": true, "reason": "", "baseline": []}'
	body=$(begin_body n2 "$commit" "$(fgit rev-parse main)" "$((G + 1))" "$NONCE" '["n1","n2","n3"]')
	put_signed begin n2 "$(identity_of n2)" <<<"$body"
	record_with "$body" verifying | jq -c --argjson b "$ballot" '.rotation.ballots = [$b, ($b | .node = "n2"), ($b | .node = "n3")]' |
		put_signed record n2 "$(identity_of n2)"
	wait_for 'said n1 "holds votes or reports" && said n3 "holds votes or reports"' $DEADLINE
	unchanged
	body=$(jq -c '.participants = ["n2"]' <<<"$body")
	put_signed begin n2 "$(identity_of n2)" <<<"$body"
	jq -c '.node = "n2"' <<<"$ballot" | put_signed "vote/$NONCE/n2" n2 "$(identity_of n2)"
	jq -cn --arg commit "$commit" --arg begin "$(etcd_get begin)" --arg vote "$(etcd_get "vote/$NONCE/n2")" \
		'{commit: $commit, begin: $begin, votes: [$vote]}' | etcd_put "decided/$(printf %012d $((G + 1)))"
	record_with "$body" verifying | put_signed record n2 "$(identity_of n2)"
	wait_for 'said n1 "1 of 3 members, which is no majority" && said n3 "1 of 3 members, which is no majority"' $DEADLINE
	unchanged
	etcd_delete "decided/$(printf %012d $((G + 1)))"
	etcd_replay "$T/dump" record
	etcd_delete begin
	kill -CONT "$(pid_of n2)"
	rm "$T/n1/etc/lockstep/templates/proxy.conf" "$T/n3/etc/lockstep/templates/proxy.conf"
	for node in n1 n3; do kill -HUP "$(pid_of "$node")"; done
	goes_on
}
begin_held_validated() {
	for node in n1 n3; do
		TEMPLATES=$T/$node/etc/lockstep/templates template proxy 'validate = [ "/bin/false" ];'
		kill -HUP "$(pid_of "$node")"
		NODE=$node
		wait_for 'said $NODE reread' $DEADLINE
	done
	etcd_dump "$T/dump"
	begin_held "$1"
	wait_for 'voted_no n1 .' $DEADLINE
	wait_for 'voted_no n3 .' $DEADLINE
}

decided() { echo "decided/$(printf %012d "$1")"; }
only_n3() { [ "$(use n3 && state_of_files)" = "$n3_before" ]; }
n3_refuses() { # WHAT
	WHAT=$1
	wait_for 'said n3 "$WHAT"' $DEADLINE
	only_n3
	[ "$(on_json n3 history -n 1 | jq .generations[0].generation)" = "$G" ]
}
n3_down() {
	n3_before=$(use n3 && state_of_files)
	stop n3
	wait_for '! etcd_keys note/alive/ | grep -q n3' 40
}
n3_catches_up() {
	wait_for "all_at $((G + 1))" $DEADLINE
	wait_for all_well 40
	on n3 history verify --quiet
}

@test "a node that was away is not told lies of what was decided meanwhile" {
	n3_down
	on n1 cert renew --force proxy --quiet
	wait_for "all_at $((G + 1)) n1 n2" $DEADLINE
	key=$(decided $((G + 1)))
	etcd_get "$key" >"$T/proof"
	etcd_get "$(decided "$G")" | etcd_put "$key"
	daemon_up n3
	n3_refuses "it is about another one"
	jq -c '.votes |= .[:1]' "$T/proof" | etcd_put "$key"
	n3_refuses "votes are missing"
	jq -c '.begin |= (fromjson | .body |= (fromjson | .participants = ["n1"] | tojson) | tojson) | .votes |= .[:1]' "$T/proof" |
		etcd_put "$key"
	n3_refuses "begin. is not believed"
	nonce=$(jq -r '.begin | fromjson.body | fromjson.nonce' "$T/proof")
	no=$(jq -cn '{node: "n2", yes: false, reason: "no", baseline: []}' | signed "vote/$nonce/n2" n2 "$(identity_of n2)")
	jq -c --arg no "$no" '.votes[1] = $no' "$T/proof" | etcd_put "$key"
	n3_refuses "a vote is no yes"
	jq -c --arg no "$(jq -c '.body |= (fromjson | .yes = true | tojson)' <<<"$no")" '.votes[1] = $no' "$T/proof" | etcd_put "$key"
	n3_refuses "vote/$nonce/n2. is not believed"
	jq -c '.votes[1] = .votes[0]' "$T/proof" | etcd_put "$key"
	n3_refuses "is signed by .n1., not by .n2."
	jq -c '.commit = "0123456789012345678901234567890123456789"' "$T/proof" | etcd_put "$key"
	n3_refuses "it names another commit"
	# n2 alone, with its true word
	commit=$(commit_of n1)
	body=$(begin_body n2 "$commit" "$(fgit rev-parse main)" "$((G + 1))" "$nonce" '["n2"]')
	yes=$(jq -cn '{node: "n2", yes: true, reason: "", baseline: []}' | signed "vote/$nonce/n2" n2 "$(identity_of n2)")
	jq -cn --arg commit "$commit" --arg vote "$yes" --arg begin "$(signed begin n2 "$(identity_of n2)" <<<"$body")" \
		'{commit: $commit, begin: $begin, votes: [$vote]}' | etcd_put "$key"
	n3_refuses "1 of 3 members, which is no majority"
	echo -n '{"begin":' | etcd_put "$key"
	n3_refuses "begin. is not signed"
	etcd_delete "$key"
	n3_refuses "nothing shows that generation $((G + 1)) was decided"
	etcd_put "$key" <"$T/proof"
	n3_catches_up
	goes_on $((G + 1))
}

# The opposite of what is in force, by a member that has no reason to.
@test "a way back that nobody reported a bad endpoint for" {
	tip=$(fgit rev-parse main)
	nonce=$(nonce)
	commit=$(forge_commit n2 "$(identity_of n2)" "$(fgit rev-parse 'main~1^{tree}')" main $((G + 1)) \
		"Lockstep-Cause: automatic-rollback\nLockstep-Components: proxy\nLockstep-Participants: n1, n2, n3\nLockstep-Restores: $(fgit rev-parse main~1)\n")
	forge_publish "$commit"
	key=$(decided $((G + 1)))
	body_of record | jq -c --arg c "$commit" --arg d "$(fgit rev-parse main~1)" --argjson g "$G" '.tip = {commit: $c,
		generation: ($g + 1), dir_commit: $d, dir_generation: ($g - 1)}' >"$T/back"
	report_of n1 "$tip" true "$nonce" | proof_revert n2 "$commit" "$tip" $((G + 1)) "$nonce" | etcd_put "$key"
	put_signed record n2 "$(identity_of n2)" <"$T/back"
	refused "nobody reported that it was not taken"
	report_of n1 "$tip" false "$nonce" "$(stranger n1)" | proof_revert n2 "$commit" "$tip" $((G + 1)) "$nonce" | etcd_put "$key"
	refused "report/$nonce/n1. is not believed"
	for node in n1 n2 n3; do : >"$T/$node.log"; done
	report_of n1 "$(fgit rev-parse main~1)" false "$nonce" | proof_revert n2 "$commit" "$tip" $((G + 1)) "$nonce" | etcd_put "$key"
	refused "nobody reported that it was not taken"
	# A report of another rotation.
	for node in n1 n2 n3; do : >"$T/$node.log"; done
	report_of n1 "$tip" false "$(nonce)" | proof_revert n2 "$commit" "$tip" $((G + 1)) "$nonce" | etcd_put "$key"
	refused "report/$nonce/n1. is not believed"
	etcd_put record <"$T/record"
	etcd_delete "$key"
	goes_on
}

@test "a rotation that was closed is opened again, when a service is down: nothing goes back" {
	use n1
	address=127.0.0.1:$(free_port)
	script "$T/reload.sh" <<-END
		exec /usr/sbin/nginx -p "$T" -e "$T/nginx.err" -c "$T/nginx.conf" -s reload
	END
	template proxy "reload = ( { exec = [ \"$T/reload.sh\" ]; } ); serve = ( { endpoint = \"$address\"; name = \"$FQDN\"; } );"
	kill -HUP "$(pid_of n1)"
	wait_for 'said n1 reread' $DEADLINE
	nginx_up proxy "$address"
	on n1 cert renew --force proxy --quiet
	wait_for "all_at $((G + 1))" $DEADLINE
	serves "$address" "$CERTS/proxy_cert.pem"
	before=$(live_state)
	etcd_get record >"$T/record"
	etcd_get "$(decided $((G + 1)))" >"$T/proof"
	body=$(jq -r '.begin | fromjson.body' "$T/proof")
	forger n1
	wait_for '[ "$(date +%s)" -gt '$(($(jq .began_at <<<"$body") + 15))' ]' 30 # its time is over
	stop nginx-master
	stop n1
	for node in n2 n3; do kill -STOP "$(pid_of "$node")"; done # they would close it at once
	jq -r .begin "$T/proof" | tr -d '\n' | etcd_put begin
	for i in 0 1 2; do
		vote=$(jq -r ".votes[$i]" "$T/proof")
		printf %s "$vote" | etcd_put "vote/$(jq -r .nonce <<<"$body")/$(jq -r .by <<<"$vote")"
	done
	body_of record | jq -c --argjson b "$body" --arg parent "$(fgit rev-parse main~1)" '.last = null | .rotation = ($b + {phase: "verifying",
		verify_deadline: ($b.began_at + 15), earlier: {commit: $parent, generation: ($b.generation - 1), dir_commit: $parent,
		dir_generation: ($b.generation - 1)}, revert_commit: "", ballots: [], reports: [], why: ""})' |
		put_signed record n2 "$(identity_of n2)"
	daemon_up n1
	wait_for idle 40
	for node in n2 n3; do kill -CONT "$(pid_of "$node")"; done
	unchanged
	[[ "$(outcome)" == "degraded: "*"endpoint $address shows no certificate"*"node n2 did not report"* ]]
	nginx_up proxy "$address"
	on n1 cert renew --force proxy --quiet
	wait_for all_well 40
	goes_on $((G + 2))
	rm "$TEMPLATES/proxy.conf"
	kill -HUP "$(pid_of n1)"
	stop nginx-master
}

@test "another cluster key in place of the wrapped one" {
	n3_down
	on n1 seal rotate --quiet
	wait_for "all_at $((G + 1)) n1 n2" $DEADLINE
	key=$(etcd_keys kek/2/n3)
	key=${key#"$(etcd_prefix)"}
	[ -n "$key" ]
	etcd_get "$key" >"$T/wrap"
	on n1 seal export --to "$T/escrow-cert.pem" >"$T/escrow.cms"
	openssl cms -decrypt -inform PEM -in "$T/escrow.cms" -inkey "$T/escrow-key.pem" -out "$T/keks"
	to=$(identity_of n3)/wrapping-2-cert.pem
	nonce # random bytes that openssl must have
	openssl rand -hex 32 | forge_wrap "$to" "$(identity_of n2)" | etcd_put "$key"
	daemon_up n3
	n3_refuses "the wrapped key of epoch 2 is not the one that the state names"
	kek 2 | forge_wrap "$to" "$(stranger n2)" | etcd_put "$key"
	n3_refuses "unwrap the cluster key: signed by none of the allowed members"
	kek 2 | forge_wrap "$(identity_of n2)/wrapping-2-cert.pem" "$(identity_of n2)" | etcd_put "$key"
	n3_refuses "unwrap the cluster key"
	head -c 300 "$T/wrap" | etcd_put "$key"
	n3_refuses "unwrap the cluster key: "
	# The forger's tools do make one.
	kek 2 | forge_wrap "$to" "$(identity_of n2)" | etcd_put "$key"
	n3_catches_up
	G=$((G + 1))

	# One report is not enough to take back what an automatic rollback may not: here an epoch.
	before=$(live_state)
	etcd_get record >"$T/record"
	forger n1
	tip=$(fgit rev-parse main)
	nonce=$(nonce)
	commit=$(forge_commit n2 "$(identity_of n2)" "$(fgit rev-parse 'main~1^{tree}')" main $((G + 1)) \
		"Lockstep-Cause: automatic-rollback\nLockstep-Components: proxy\nLockstep-Participants: n1, n2, n3\nLockstep-Restores: $(fgit rev-parse main~1)\n")
	forge_publish "$commit"
	report_of n2 "$tip" false "$nonce" | proof_revert n2 "$commit" "$tip" $((G + 1)) "$nonce" | etcd_put "$(decided $((G + 1)))"
	body_of record | jq -c --arg c "$commit" --arg d "$(fgit rev-parse main~1)" --argjson g "$G" '.tip = {commit: $c,
		generation: ($g + 1), dir_commit: $d, dir_generation: ($g - 1)}' | put_signed record n2 "$(identity_of n2)"
	refused "goes back from one that no automatic rollback may undo"
	etcd_put record <"$T/record"
	etcd_delete "$(decided $((G + 1)))"
	goes_on
}

@test "a crash right before main moved, and etcd is away: healing does not go back" {
	on n1 cert renew --force proxy --quiet
	wait_for "all_at $((G + 1))" $DEADLINE
	before=$(live_state)
	stop n1
	live=$(cd "$CERTS" && sha256sum ./*.pem)
	git --git-dir="$(history_of n1)" update-ref refs/lockstep/next main
	git --git-dir="$(history_of n1)" update-ref refs/heads/main main~1
	etcd_stop
	daemon_up n1
	echo x >"$CERTS/..data/proxy_cert.pem"
	wait_for '[ "$(cd "$CERTS" && sha256sum ./*.pem)" = "$live" ]' $DEADLINE
	etcd_all_up
	wait_for unchanged 40
	goes_on $((G + 1))
}
