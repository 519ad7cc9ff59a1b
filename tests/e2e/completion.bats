#!/usr/bin/env bats
# What TAB gives: bash's completion is called as bash calls it, zsh's is typed into a real zsh.

bats_require_minimum_version 1.5.0
COMPLETION=$BATS_TEST_DIRNAME/../../docs/completion

setup_file() {
	local build=${LOCKSTEP_BUILD:-build/san}

	[[ $build = /* ]] || build=$BATS_TEST_DIRNAME/../../$build
	export TAB_ROOT=$BATS_FILE_TMPDIR/node PATH=$BATS_FILE_TMPDIR/bin:$PATH
	mkdir -p "$TAB_ROOT/usr/share/lockstep" "$BATS_FILE_TMPDIR/bin"
	ln -s "$build/lockstep" "$BATS_FILE_TMPDIR/bin/lockstep"
	ln -s "$build/lockstep" "$BATS_FILE_TMPDIR/bin/rladmin"
	cp -r "$BATS_TEST_DIRNAME/../../templates" "$BATS_TEST_DIRNAME/../../policies" "$TAB_ROOT/usr/share/lockstep"
	lockstep --root "$TAB_ROOT" init --cluster prod --fqdn prod.example.com --node n1
}

# What TAB offers behind these words, in one line; an empty last word is a TAB behind a blank.
tab() {
	bash -c 'source "$1"; shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
		"_${1##*/}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		echo ${COMPREPLY[*]}' - "$COMPLETION/lockstep.bash" "$@"
}

@test "bash: verbs and what follows them" {
	[ "$(tab lockstep "")" = \
		"init token join status cert history rollback rotation node seal etcd-config store doctor" ]
	[ "$(tab lockstep cert s)" = "show set" ]
	[ "$(tab lockstep cert se)" = "set" ]
	[ "$(tab lockstep seal "")" = "rotate forget export" ]
	[ "$(tab lockstep -o json --root "$TAB_ROOT" cert s)" = "show set" ]
}

@test "bash: every verb of --help is offered, and no other" {
	local first second offered=

	for first in $(tab lockstep ""); do
		case $first in
		cert | seal | token | rotation | node | store) for second in $(tab lockstep "$first" ""); do offered+="$first $second"$'\n'; done ;;
		history) offered+=$'history\nhistory show\nhistory verify\n' ;;
		*) offered+=$first$'\n' ;;
		esac
	done
	[ "$(sort <<< "${offered%$'\n'}")" = \
		"$(lockstep --help | sed -n 's/^  \([a-z-]* *[a-z]*\)  .*/\1/p' | sed 's/  */ /; s/ $//' | sort)" ]
}

@test "bash: the options of a verb are those of its --help" {
	local verb option

	for verb in init "token create" join status "cert set" "cert renew" "cert csr" history rollback "node remove" \
		"seal export" etcd-config "store migrate" doctor; do
		for option in $(lockstep $verb --help | head -n 1 | sed 's/^usage: lockstep [a-z-]*//' |
			grep -oE -- '-+[a-z][a-z-]*' | sort -u); do
			[[ " $(tab lockstep $verb -) " == *" $option "* ]]
			lockstep $verb "$option" x --help > /dev/null
		done
	done
}

@test "bash: components and generations of the root that was typed" {
	[ "$(tab lockstep --root "$TAB_ROOT" cert show p)" = "proxy" ]
	[ "$(tab lockstep --root "$TAB_ROOT" cert renew api "")" = "api cm metrics_exporter proxy syncer" ]
	[ "$(tab lockstep --root = "$TAB_ROOT" cert show p)" = "proxy" ]
	[ "$(LOCKSTEP_ROOT=$TAB_ROOT tab lockstep cert set s)" = "syncer" ]
	[ "$(tab lockstep --root "$TAB_ROOT" rollback "")" = "1" ]
	[ "$(tab lockstep --root "$TAB_ROOT" history show "")" = "1" ]
	[ "$(tab lockstep --root "$TAB_ROOT" history v)" = "verify" ]
	[ "$(tab lockstep --root "$TAB_ROOT" node remove "")" = "n1" ]
	[ -z "$(tab lockstep --root "$BATS_TEST_TMPDIR" cert show "")" ]
}

@test "bash: files, directories, words" {
	cd "$BATS_TEST_TMPDIR"
	mkdir -p here
	touch one.pem two.pem
	[ "$(tab lockstep cert set proxy --cert o)" = "one.pem" ]
	[ "$(tab lockstep cert set proxy --cert one.pem --key t)" = "two.pem" ]
	[ "$(tab lockstep cert set --from "")" = "here" ]
	[ "$(tab lockstep status -o j)" = "json" ]
	[ "$(tab lockstep --root "$TAB_ROOT" init --policy s)" = "strict" ]
	[ "$(tab lockstep doctor --mend "")" = "objects record identity" ]
	[ "$(tab lockstep doctor --mend objects --from "")" = "here" ]
	[ "$(tab lockstep etcd-config --member n1 --initial-state "")" = "new existing" ]
	[ "$(tab lockstep etcd-config --member n1 --data-dir "")" = "here" ]
	[ "$(tab lockstep join --token-file o)" = "one.pem" ]
	[ "$(tab lockstep store migrate --etcd-ca t)" = "two.pem" ]
}

@test "bash: rladmin" {
	cd "$BATS_TEST_TMPDIR"
	touch cm_cert.pem
	[ "$(tab rladmin "")" = "cluster" ]
	[ "$(tab rladmin cluster c)" = "certificate" ]
	[ "$(tab rladmin --root "$TAB_ROOT" cluster certificate set c)" = "cm" ]
	[ "$(tab rladmin cluster certificate set cm certificate_file cm)" = "cm_cert.pem" ]
	[ "$(tab rladmin cluster certificate set cm certificate_file cm_cert.pem "")" = "key_file" ]
}

@test "zsh: the file parses" {
	zsh -n "$COMPLETION/_lockstep"
}

@test "zsh: TAB in a real shell completes verbs and components" {
	cat > "$BATS_TEST_TMPDIR/type.zsh" <<-'ZSH'
		zmodload zsh/zpty
		typed() {
			local got= part
			zpty shell zsh -f -i
			zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; stty -echo; echo rea''dy"
			for i in {1..100}; do zpty -r -t shell part && got+=$part; [[ $got == *ready* ]] && break; sleep 0.1; done
			got=
			zpty -w -n shell "$2"$'\t'
			for i in {1..100}; do zpty -r -t shell part && got+=$part; [[ $got == *$3* ]] && break; sleep 0.1; done
			zpty -d shell
			[[ $got == *$3* ]] || { print -r -- "typed '$2', wanted '$3', got '$got'"; return 1 }
		}
		typed $1 "lockstep rol" "lockstep rollback" &&
			typed $1 "lockstep cert se" "lockstep cert set" &&
			typed $1 "lockstep etcd-config --initial-c" "config --initial-cluster" &&
			typed $1 "lockstep node rem" "lockstep node remove" &&
			typed $1 "lockstep --root $2 node remove n" "node remove n1" &&
			typed $1 "lockstep join --token" "join --token-file" &&
			typed $1 "lockstep --root $2 cert show pro" "cert show proxy" &&
			typed $1 "lockstep cert set proxy --ch" "proxy --chain" &&
			typed $1 "lockstep --root $2 history synce" "history syncer" &&
			typed $1 "rladmin cl" "rladmin cluster" &&
			typed $1 "rladmin --root $2 cluster certificate set pro" "set proxy"
	ZSH
	ln -s "$TAB_ROOT" "$BATS_TEST_TMPDIR/r" # short: a line that wraps is hard to read
	cd "$BATS_TEST_TMPDIR"
	TERM=dumb run -0 zsh -f type.zsh "$COMPLETION" r
}
