# Hostile hands on one node: odd files in incoming/ and in place of live ones, floods, rude clients, strange
# configuration. Each ends in a clear refusal; the daemon stays up, answers, and stays small.
#
# The release build, because memory is measured; the parsers' sanitizers are in the unit tests and fuzzers.

load lib

RUDE=$E2E_SOURCE/tests/e2e/rude.py
RSS_MAX_KB=65536 # seen: 12,000 idle, 16,000 at most

setup_file() { export LOCKSTEP_BUILD=${LOCKSTEP_RELEASE:-build/release}; }

# The same daemon to the end of each test: up, answering root at once, in order, and small.
peak_kb() { awk '/VmHWM/ {print $2}' "/proc/$(pid_of lockstepd)/status"; }
well() {
	wait_for "timeout 10 $E2E_BUILD/lockstep --root $R --quiet status" $DEADLINE
	[ "$(cat "$R/run/lockstep/lockstepd.pid")" = "$(pid_of lockstepd)" ]
	echo "peak: $(peak_kb) KiB"
	[ "$(peak_kb)" -lt $RSS_MAX_KB ]
}
rude() { # NAME WORD…: in the background, once it has begun
	start "$1" /usr/bin/python3 "$RUDE" "${@:2}"
	wait_for "grep -qE '^(held|begun)' $T/$1.log" $DEADLINE
}
rude_stranger() { # as `rude`, as a user without rights, who may not see this checkout
	start "$1" setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c "$(cat "$RUDE")" "${@:2}"
	wait_for "grep -qE '^(held|begun)' $T/$1.log" $DEADLINE
}
answered() { timeout 10 "$E2E_BUILD/lockstep" --root "$R" --quiet status; }
rejected_has() { grep -rqs -- "$1" "$REJECTED"; }
emptied() { [ -z "$(ls "$INCOMING")" ]; }
small_bad_pair() { # NAME: two files that do not parse
	echo rubbish >"$INCOMING/$1_cert.pem"
	echo rubbish >"$INCOMING/$1_key.pem"
}
write_many() { # DIR COUNT NAME, in which %d stands for a number
	/usr/bin/python3 -c 'import sys
for i in range(int(sys.argv[2])):
	open(sys.argv[1] + "/" + sys.argv[3] % i, "w").write("junk" * 2000)' "$@"
}
quick_conf() {
	mkdir -p "${CONF%/*}"
	echo "intake = { settle_ms = 50; patience_s = 1; }; reconcile_s = ${1:-30};" >"$CONF"
}
reachable() { # by other users: bats' directories are root's own
	local dir=$R

	while [ "$dir" != / ]; do
		chmod o+x "$dir"
		dir=${dir%/*}
		dir=${dir:-/}
	done
}

@test "every odd kind of file in incoming/ is refused by its name, and nothing of a target is taken" {
	quick_conf
	node_up
	new_key ec "$T/secret.pem"
	ln -s "$T/secret.pem" "$INCOMING/proxy_key.pem"
	wait_for "rejected_has \"'proxy_key.pem' is a symbolic link\"" $DEADLINE
	ln "$T/secret.pem" "$INCOMING/proxy_key.pem"
	wait_for "rejected_has \"'proxy_key.pem' has 2 links, one is allowed\"" $DEADLINE
	mkfifo "$INCOMING/api_cert.pem"
	wait_for "rejected_has \"'api_cert.pem' is not a regular file\"" $DEADLINE
	mkdir "$INCOMING/cm.pem"
	wait_for "rejected_has \"'cm.pem' is not a regular file\"" $DEADLINE
	(cd "$INCOMING" && /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("syncer.pem")')
	wait_for "rejected_has \"'syncer.pem' is not a regular file\"" $DEADLINE
	mknod "$INCOMING/metrics_key.pem" c 1 5
	wait_for "rejected_has \"'metrics_key.pem' is not a regular file\"" $DEADLINE
	truncate -s 1T "$INCOMING/proxy.pem"
	wait_for "rejected_has \"'proxy.pem' has 1099511627776 bytes\"" $DEADLINE
	touch "$T/theirs"
	chown 65534 "$T/theirs"
	mv "$T/theirs" "$INCOMING/cm_key.pem"
	wait_for "rejected_has \"'cm_key.pem' belongs to user 65534\"" $DEADLINE
	touch "$INCOMING/"$'two\nlines_cert.pem' "$INCOMING/"$'\e[31m\u202ered.pem'
	wait_for emptied $DEADLINE
	[ -f "$T/secret.pem" ]
	! grep -rqs 'PRIVATE KEY' "$REJECTED"
	! LC_ALL=C grep -q $'[\e\x80-\xff]' "$T/lockstepd.log"
	! log_has '^lines_cert'
	is_generation 1
	well
}

@test "a file without read permission waits, and status says why" {
	quick_conf
	init --quiet
	start lockstepd setpriv --bounding-set -all --inh-caps -all "$E2E_BUILD/lockstepd" --root "$R"
	wait_for healthy $DEADLINE
	small_bad_pair proxy
	chmod 0 "$INCOMING"/proxy_*
	wait_for "lockstep status | grep \"problem: drop-in 'proxy' waits: .*Permission denied\"" $DEADLINE
	[ "$(ls "$INCOMING" | wc -l)" = 2 ]
	rm "$INCOMING"/proxy_*
	well
}

@test "a flood of 10,000 files is over in seconds, and a drop-in in the middle of it is taken" {
	local ended

	quick_conf
	node_up
	authority "$T/ca"
	pair "$T/proxy" "$T/ca"
	write_many "$INCOMING" 5000 'x%d_cert.pem'
	write_many "$INCOMING" 5000 'some %d.txt'
	cp "$T/proxy-key.pem" "$INCOMING/proxy_key.pem"
	cp "$T/proxy-cert.pem" "$INCOMING/proxy_cert.pem"
	ended=$((SECONDS + 60))
	until live_is proxy "$T/proxy-cert.pem" && emptied; do
		[ $SECONDS -lt $ended ]
		timeout 5 "$E2E_BUILD/lockstep" --root "$R" status >/dev/null || [ $? = 1 ]
	done
	# Nobody's only copy is lost; the journal and rejected/ are no flood.
	[ "$(find "$INCOMING" -name '.refused-*some*' | wc -l)" = 5000 ]
	[ "$(grep -c refused "$T/lockstepd.log")" -lt 200 ]
	[ "$(ls "$REJECTED" | wc -l)" -lt 200 ]
	log_has "refused [0-9]+ files in incoming/ with no component's name \("
	awk '{exit ($14 + $15 > 2000)}' "/proc/$(pid_of lockstepd)/stat" # 20 s of CPU; seen: 1
	well
}

@test "more files than can be looked at are said by status, and are looked at all the same" {
	mkdir -p "${CONF%/*}"
	echo 'intake = { settle_ms = 2000; };' >"$CONF"
	init --quiet
	write_many "$INCOMING" 12000 'f%d'
	start lockstepd "$E2E_BUILD/lockstepd" --root "$R"
	wait_for "lockstep status | grep 'problem: incoming/ .* more than 10000 files'" $DEADLINE
	wait_for emptied 30
	well
}

@test "bad pairs dropped in a loop fill neither rejected/ nor the journal" {
	local i

	quick_conf 1
	node_up
	mkdir -p "$REJECTED"
	for i in {1..1100}; do
		echo "20261101T000000.$(printf %03d $((i % 1000)))Z-p$i"
	done | (cd "$REJECTED" && xargs mkdir)
	for i in {1..40}; do # two entries each
		echo "rubbish $i" >"$T/rubbish"
		mv "$T/rubbish" "$CERTS/proxy.pem"
		wait_for "[ -L $CERTS/proxy.pem ]" $DEADLINE
	done
	wait_for "log_has 'more entries about live files that were put back left out'" $DEADLINE
	wait_for "[ \$(ls $REJECTED | wc -l) -le 1000 ]" $DEADLINE
	[ "$(grep -cE 'was put back$|is put back' "$T/lockstepd.log")" -le 60 ]
	well
}

@test "files exchanged all the time: no byte of a target is taken, and what is quiet is judged" {
	quick_conf
	node_up
	new_key ec "$T/secret.pem"
	ln -s "$T/secret.pem" "$R/etc/link"
	mkfifo "$R/etc/fifo"
	echo rubbish >"$INCOMING/proxy_key.pem"
	echo rubbish >"$INCOMING/cm_key.pem"
	rude racer1 swap "$INCOMING/proxy_key.pem" "$R/etc/link"
	rude racer2 swap "$INCOMING/cm_key.pem" "$R/etc/fifo"
	rude racer3 scribble "$CERTS/api_key.pem"
	for _ in {1..5}; do answered || [ $? = 1 ]; done
	stop racer1
	stop racer2
	stop racer3
	wait_for emptied $DEADLINE
	wait_for all_pairs_match $DEADLINE
	[ -f "$T/secret.pem" ]
	! grep -rqs 'PRIVATE KEY' "$REJECTED"
	! grep -qs "$(sed -n 2p "$T/secret.pem")" "$T/lockstepd.log"
	rm "$CERTS"/*.rude 2>/dev/null || true
	is_generation 1
	well
}

live_again() { # what stands there is what init made, through links
	[ "$(cd "$CERTS" && sha256sum ./*_key.pem ./*_cert.pem ca/*.pem)" = "$(cat "$T/sums")" ] &&
		[ -L "$CERTS/proxy.pem" ] && [ -L "$CERTS/..data" ] && [ -d "$CERTS/ca" ]
}
odd_kinds() { # PATH: puts one thing after the other in its place, and waits until all is right again
	local kind

	for kind in symlink fifo file dir full socket gone; do
		mv -T "$1" "$T/away.$((away++))"
		case $kind in
		symlink) ln -sfn /etc/shadow "$1" ;;
		fifo) mkfifo "$1" ;;
		file) echo rubbish >"$1" ;;
		dir) mkdir "$1" ;;
		full) mkdir -p "$1/a/b" && touch "$1/a/b/c" ;;
		socket) (cd "${1%/*}" && /usr/bin/python3 -c \
			'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "${1##*/}") ;;
		gone) ;;
		esac 2>/dev/null || true # it may have been put back already
		wait_for live_again $DEADLINE || {
			echo "$kind in place of $1"
			return 1
		}
	done
}

@test "every odd kind of file in place of live ones is healed" {
	local away=0

	quick_conf 1
	node_up
	(cd "$CERTS" && sha256sum ./*_key.pem ./*_cert.pem ca/*.pem) >"$T/sums"
	for name in ..data proxy_key.pem proxy.pem ca ca/proxy.pem ..data/proxy_key.pem ..data/ca; do
		odd_kinds "$CERTS/$name"
	done
	odd_kinds "$CERTS/$(readlink "$CERTS/..data")"
	is_generation 1
	! grep -rqs 'PRIVATE KEY' "$REJECTED"
	well
}

@test "the live directory itself taken away, or full of foreign files, hard links and planted names" {
	quick_conf 1
	node_up
	(cd "$CERTS" && sha256sum ./*_key.pem ./*_cert.pem ca/*.pem) >"$T/sums"
	seq -f "$CERTS/foreign-%g" 10000 | xargs touch
	ln "$CERTS/..data/proxy_key.pem" "$R/etc/copy"
	wait_for "[ \$(stat -c %h \$(readlink -f $CERTS/proxy_key.pem)) = 1 ]" $DEADLINE
	ln -s /etc/shadow "$(readlink -f "$CERTS/..data")/.proxy_key.pem.new"
	echo rubbish >"$T/rubbish"
	mv "$T/rubbish" "$CERTS/proxy_key.pem"
	wait_for live_again $DEADLINE
	lockstep --quiet cert renew cm --force
	is_generation 2
	[ "$(find "$CERTS" -name 'foreign-*' | wc -l)" = 10000 ]
	well
}

@test "malformed requests are answered 4xx or cut, and each ends in words" {
	local socket=$R/run/lockstep/control.sock

	node_up
	say() { printf "$1" | timeout 15 /usr/bin/python3 "$RUDE" say "$socket" | tr -d '\0' >"$T/answer"; }
	answers() { # CODE TEXT
		say "$2"
		head -n 1 "$T/answer" | grep -q " $1 " || {
			echo "$2: $(head -n 1 "$T/answer")"
			return 1
		}
	}
	local post='POST /v1/change HTTP/1.1\r\nConnection: close\r\n' get='GET /v1/status HTTP/1.1\r\nConnection: close\r\n'

	answers 200 "$get\r\n"
	answers 400 'GET /v1/status\r\n\r\n'
	answers 400 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
	answers 400 'GET /v1/status HTTP/9.9\r\n\r\n'
	answers 400 'GET /v1/st\0atus HTTP/1.1\r\n\r\n'
	answers 400 "GET /$(printf 'a%.0s' {1..9000}) HTTP/1.1\r\n\r\n"
	answers 400 "$get$(printf 'X%d: y\\r\\n' {1..2000})\r\n"
	answers 400 "${post}Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}xxx"
	answers 400 "${post}Content-Length: -2\r\n\r\n{}"
	answers 400 "${post}Content-Length: 2x\r\n\r\n{}"
	answers 400 "${post}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
	answers 400 "${post}Transfer-Encoding: gzip\r\n\r\n{}"
	answers 413 "${post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n"
	answers 417 "${post}Expect: 42\r\nContent-Length: 2\r\n\r\n{}"
	answers 405 'DELETE /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n'
	answers 200 "${get}Upgrade: websocket\r\n\r\n"
	answers 400 "${post}Content-Length: 2\r\n\r\n{}"
	grep -q "request: 'kind' is missing or of the wrong type" "$T/answer"
	answers 400 "${post}Content-Length: 20000\r\n\r\n$(printf '[%.0s' {1..20000})"
	grep -q 'the body is not a JSON object' "$T/answer"
	well
}

@test "a thousand connections of strangers, of root, slow, deaf and hasty ones: root is answered" {
	local socket=$R/run/lockstep/control.sock

	node_up
	reachable
	rude_stranger held hold "$socket" 1000
	wait_for answered $DEADLINE
	rude_stranger begun hold "$socket" 1000 'GET /v1/status HTTP/1.1'
	wait_for answered $DEADLINE
	rude roots hold "$socket" 1000
	wait_for answered $DEADLINE
	rude slow slow "$socket"
	rude deaf deaf "$socket" 2000
	rude_stranger hasty churn "$socket"
	wait_for answered $DEADLINE
	lockstep --quiet cert renew cm --force
	is_generation 2
	well
}

@test "few descriptors and many connections: no spinning, and changes go on" {
	init --quiet
	start lockstepd prlimit --nofile=96:96 "$E2E_BUILD/lockstepd" --root "$R"
	wait_for healthy $DEADLINE
	rude held hold "$R/run/lockstep/control.sock" 200
	wait_for answered $DEADLINE
	lockstep --quiet cert renew cm --force
	is_generation 2
	well
}

@test "wrong peers: 403 in words, and no memory for what they send" {
	local socket=$R/run/lockstep/control.sock stranger

	node_up
	reachable
	stranger=(setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c "$(cat "$RUDE")" say "$socket")
	printf 'GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n' | "${stranger[@]}" >"$T/answer"
	grep -q '^HTTP/1.1 403 ' "$T/answer"
	grep -q 'this user may not do that' "$T/answer"
	grep -q 'lockstep-ro may see the status' "$T/answer"
	head -c 8M /dev/zero >"$T/zeros"
	{
		printf 'POST /v1/change HTTP/1.1\r\nContent-Length: 8388608\r\n\r\n'
		cat "$T/zeros"
	} | "${stranger[@]}" >"$T/answer"
	grep -q '^HTTP/1.1 413 ' "$T/answer"
	well
}

refused_conf() { # WORDS: the daemon keeps the old configuration and says so
	local n

	n=$(grep -c 'the old configuration stays' "$T/lockstepd.log" || true)
	kill -HUP "$(pid_of lockstepd)"
	wait_for "[ \$(grep -c 'the old configuration stays' $T/lockstepd.log) -gt $n ]" $DEADLINE
	tail -n 1 "$T/lockstepd.log" | grep -qE -- "$1" || {
		echo "wanted: $1"
		return 1
	}
}

@test "strange configuration is refused with file and line, and the old one stays" {
	node_up
	conf() { printf '%b' "$1" >"$CONF" && refused_conf "lockstep.conf$2"; }
	conf 'reconcile_s = 5;\n@include "/etc/shadow"\n' ':2: directives such as @include are not taken'
	conf 'reconcile_s = 4294967326;' ':1: the integer 4294967326 has more than 9 digits'
	conf 'reconcile_s = 0x1F;' ":1: '0x1F' is not a decimal integer"
	conf 'reconcile_s = 30L;' ":1: '30L' is not a decimal integer"
	conf '\n\nreconcile = 30;' ":3: unknown setting 'reconcile'"
	conf 'reconcile_s = 30;\nreconcile_s = 31;' ':2: duplicate'
	conf "a = $(printf '(%.0s' {1..10000})" ':1: nested deeper than 8'
	conf 'reconcile_s = 30; \x00' ':1: control character 0x00'
	conf '# caf\xe9\n' ':1: byte 0xe9 is not UTF-8'
	head -c 300K /dev/zero | tr '\0' ' ' >"$CONF"
	refused_conf 'lockstep.conf. has 307200 bytes'
	rm "$CONF"
	mkfifo "$CONF"
	refused_conf 'lockstep.conf. is not a regular file'
	rm "$CONF"
	mkdir "$CONF"
	refused_conf 'lockstep.conf. is not a regular file'
	rmdir "$CONF"
	ln -s /dev/zero "$CONF"
	refused_conf 'lockstep.conf. is a symbolic link'
	rm "$CONF"
	echo 'reconcile_s = 5;' >"$CONF"
	chmod 666 "$CONF"
	refused_conf 'lockstep.conf. is writable by everybody \(mode 0666\)'
	chmod 644 "$CONF"
	chown 65534 "$CONF"
	refused_conf 'lockstep.conf. belongs to user 65534'
	chown 0 "$CONF"
	template other
	chmod 646 "$TEMPLATES/other.conf"
	refused_conf 'other.conf. is writable by everybody'
	chmod 644 "$TEMPLATES/other.conf"
	chmod 777 "$TEMPLATES"
	refused_conf "directory '.*templates' is writable by everybody"
	chmod 755 "$TEMPLATES"
	sed -i 's/"other"/"proxy"/' "$TEMPLATES/other.conf"
	template proxy
	refused_conf "a second template for component 'proxy'"
	rm "$TEMPLATES/other.conf"
	(cd "$TEMPLATES" && seq -f 't%g.conf' 10000 | xargs touch)
	refused_conf 'more than 4096 entries'
	rm -r "$TEMPLATES"
	adopt
	well
}
