# forge -- what somebody writes into etcd who has a client certificate, and perhaps a member's identity or a machine that
# was removed: records, begins, votes, proofs, commits and wraps made with openssl and git alone. Behind cluster.bash.

# An identity is a directory with signing-cert.pem and signing-key.pem.
identity_of() { echo "$T/$1/var/lib/lockstep/identity"; }
history_of() { echo "$T/$1/var/lib/lockstep/history.git"; }

# A stranger's identity that looks like a member's: same names, same kind of CA.
stranger() { # NODE: in $T/stranger-NODE
	local dir=$T/stranger-$1

	mkdir -p "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$dir/ca-key.pem" -out "$dir/ca.pem" \
		-days 3650 -subj "/O=prod/CN=Lockstep cluster CA" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$dir/signing-key.pem" -out "$dir/csr" \
		-subj "/O=prod/OU=$1" 2>/dev/null
	printf 'subjectAltName=URI:lockstep://prod/%s\nkeyUsage=critical,digitalSignature\n' "$1" >"$dir/ext"
	openssl x509 -req -in "$dir/csr" -CA "$dir/ca.pem" -CAkey "$dir/ca-key.pem" -not_after 99991231235959Z \
		-extfile "$dir/ext" -out "$dir/signing-cert.pem" 2>/dev/null ||
		openssl x509 -req -in "$dir/csr" -CA "$dir/ca.pem" -CAkey "$dir/ca-key.pem" -days 36500 \
			-extfile "$dir/ext" -out "$dir/signing-cert.pem" 2>/dev/null
	echo "$dir"
}

cms_sign() { # IDENTITY: what is on standard input, detached
	openssl cms -sign -binary -nosmimecap -md sha256 -outform PEM -signer "$1/signing-cert.pem" \
		-inkey "$1/signing-key.pem" | sed 's/CMS-----/SIGNED MESSAGE-----/'
}

# The value {"by", "body", "signature"} of a key; the body is on standard input. FOR is the key that is signed.
signed() { # FOR BY IDENTITY
	local body

	body=$(jq -cSj .)
	jq -cn --arg by "$2" --arg body "$body" \
		--arg signature "$(printf '%s\n%s' "$(etcd_prefix)$1" "$body" | cms_sign "$3")
" '$ARGS.named'
}
put_signed() { signed "$1" "$2" "$3" | tr -d '\n' | etcd_put "$1"; } # KEY BY IDENTITY
body_of() { etcd_get "$1" | jq -c '.body | fromjson'; }              # KEY

# All of it, as it is now; FILE keeps it as lines of keys and values in base64.
etcd_dump() { # FILE
	local prefix

	prefix=$(etcd_prefix)
	etcd_call e1 "$CA" "$PEM" kv/range "{\"key\":\"$(printf %s "$prefix" | b64)\",\"range_end\":\"$(printf %s "${prefix%/}0" | b64)\"}" |
		jq -r '.kvs[] | .key + " " + .value' >"$1"
}
# Of these, those whose keys begin with PREFIX, put back as they were.
etcd_replay() { # FILE PREFIX…
	local file=$1 key value name prefix

	shift
	while read -r key value; do
		name=$(base64 -d <<<"$key")
		for prefix; do
			[[ ${name#"$(etcd_prefix)"} != "$prefix"* ]] || base64 -d <<<"$value" | etcd_put "${name#"$(etcd_prefix)"}"
		done
	done <"$file"
}

# Commits. A clone of a node's history that the node does not see; what is made there is made by stock git.
forger() { # NODE: $FORGE is its repository
	FORGE=$T/forge.git
	rm -rf "$FORGE"
	cp -a "$(history_of "$1")" "$FORGE"
	rm -f "$FORGE"/refs/lockstep/*
	cat >"$T/forge-sign" <<-'END'
		#!/bin/sh
		openssl cms -sign -binary -nosmimecap -md sha256 -outform PEM -signer "$FORGE_ID/signing-cert.pem" \
			-inkey "$FORGE_ID/signing-key.pem" | sed 's/CMS-----/SIGNED MESSAGE-----/'
		printf '\n[GNUPG:] SIG_CREATED D\n' >&2
	END
	chmod +x "$T/forge-sign"
}
fgit() { git --no-pager --git-dir="$FORGE" "$@"; }
# The tree of main with FILE in place of PATH, for each pair.
forge_tree() { # [PATH FILE]…
	local index=$T/forge.index

	rm -f "$index"
	GIT_INDEX_FILE=$index fgit read-tree main
	while [ $# -gt 0 ]; do
		GIT_INDEX_FILE=$index fgit update-index --add --cacheinfo "100644,$(fgit hash-object -w "$2"),$1"
		shift 2
	done
	GIT_INDEX_FILE=$index fgit write-tree
}
forge_commit() { # NODE IDENTITY TREE [PARENT [GENERATION [CAUSE-AND-TRAILERS]]]
	local parent=${4:-main} next

	next=${5:-$(($(fgit log -1 --format='%(trailers:key=Lockstep-Generation,valueonly,separator=)' "$parent") + 1))}
	printf 'proxy: forged\n\nLockstep-Generation: %s\n%b' "$next" \
		"${6:-Lockstep-Cause: operator\nLockstep-Components: proxy\nLockstep-Participants: n1, n2, n3\n}" >"$T/forge.message"
	FORGE_ID=$2 GIT_AUTHOR_NAME=root GIT_AUTHOR_EMAIL=root@$1 GIT_COMMITTER_NAME=$1 GIT_COMMITTER_EMAIL=$1@prod TZ=UTC \
		git --git-dir="$FORGE" -c gpg.format=x509 -c gpg.x509.program="$T/forge-sign" commit-tree -S -p "$parent" \
		-F "$T/forge.message" "$3" 2>/dev/null
}
# In the one form that is taken: objects whole, no deltas.
forge_publish() { # COMMIT [BASE]
	fgit rev-list --objects --no-object-names "$1" --not "${2:-main}" |
		fgit pack-objects -q --stdout --window=0 --depth=0 --no-reuse-delta >"$T/forge.pack"
	etcd_put "pack/$1/00" <"$T/forge.pack"
	stat -c %s "$T/forge.pack" | tr -d '\n' | etcd_put "pack/$1/size"
}

# A rotation begun by hand: the begin, then the record that speaks of it.
begin_body() { # NODE COMMIT PARENT GENERATION NONCE PARTICIPANTS(JSON)
	jq -cn --arg initiator "$1" --arg commit "$2" --arg parent "$3" --argjson generation "$4" --arg nonce "$5" \
		--argjson participants "$6" --argjson began_at "$(date +%s)" \
		--argjson vote_deadline "$(($(date +%s) + ${VOTE_S:-20}))" '$ARGS.named'
}
nonce() { openssl rand -hex 16; }
# The record as it is, but with this rotation; PHASE verifying moves the tip as well.
record_with() { # BEGIN PHASE
	body_of record | jq -c --argjson b "$1" --arg phase "$2" --argjson until "$(($(date +%s) + 60))" '
		. as $was | .rotation = ($b + {phase: $phase, verify_deadline: (if $phase == "voting" then 0 else $until end),
			earlier: $was.tip, revert_commit: "", ballots: [], reports: [], why: ""}) |
		if $phase == "voting" then . else
			.tip = {commit: $b.commit, generation: $b.generation, dir_commit: $b.commit, dir_generation: $b.generation} end'
}
begin_as() { # NODE COMMIT [PARENT [GENERATION]]: with all three; $NONCE is set
	local parent=${3:-$(fgit rev-parse main)} body

	NONCE=$(nonce)
	body=$(begin_body "$1" "$2" "$parent" "${4:-$(($(fgit rev-list --count main) + 1))}" "$NONCE" '["n1","n2","n3"]')
	put_signed begin "$1" "$(identity_of "$1")" <<<"$body"
	record_with "$body" voting | put_signed record "$1" "$(identity_of "$1")"
}
# A proof that a generation goes back, with NODE's word for it; the report is on standard input.
proof_revert() { # NODE COMMIT PARENT GENERATION NONCE
	jq -cn --arg commit "$2" --arg report "$(cat)" \
		--arg revert "$(jq -cn --arg nonce "$5" --arg commit "$2" --arg parent "$3" --argjson generation "$4" \
			'$ARGS.named' | signed revert "$1" "$(identity_of "$1")")" '$ARGS.named'
}
report_of() { # NODE COMMIT GOOD NONCE [IDENTITY]
	jq -cn --arg node "$1" --arg commit "$2" --argjson good "$3" '{node: $node, commit: $commit, good: $good,
		reason: "it does not serve", warnings: []}' | signed "report/$4/$1" "$1" "${5:-$(identity_of "$1")}"
}
# A cluster key, in hex on standard input, wrapped to a certificate as a member does it.
forge_wrap() { # CERT IDENTITY
	openssl cms -encrypt -binary -aes-256-gcm -aes256-wrap -outform DER -recip "$1" -keyopt ecdh_kdf_md:sha256 \
		-out "$T/wrap.der"
	openssl cms -sign -binary -nodetach -nosmimecap -md sha256 \
		-signer "$2/signing-cert.pem" -inkey "$2/signing-key.pem" -in "$T/wrap.der" -outform PEM
}
