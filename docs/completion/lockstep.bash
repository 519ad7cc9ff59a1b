# bash completion for lockstep and rladmin. Needs nothing but bash.

# Runs the program as it was typed (lockstep beside rladmin), with the root and configuration that were typed.
_lockstep_ask()
{
	local program=${command/#\~\//$HOME/}
	local -a where=()

	[[ -n $root ]] && where+=(--root "${root/#\~\//$HOME/}")
	[[ -n $config ]] && where+=(--config "${config/#\~\//$HOME/}")
	[[ $program == *rladmin ]] && program=${program%rladmin}lockstep
	"$program" "${where[@]}" --timeout 2 "$@" 2> /dev/null
}

_lockstep_components()
{
	_lockstep_ask cert list -o json | sed -n 's/^ *"name": "\([a-z0-9_]*\)",*$/\1/p'
}

_lockstep_generations()
{
	_lockstep_ask history -n 50 -o json | sed -n 's/^ *"generation": \([0-9]*\),*$/\1/p'
}

_lockstep_nodes()
{
	_lockstep_ask node list -o json | sed -n 's/^ *"name": "\([a-z0-9_]*\)",*$/\1/p'
}

_lockstep_policies()
{
	local file

	for file in "$root"/etc/lockstep/policies/*.conf "$root"/usr/share/lockstep/policies/*.conf \
		/usr/local/share/lockstep/policies/*.conf; do
		[[ -f $file ]] && file=${file##*/} && echo "${file%.conf}"
	done
}

_lockstep_words()
{
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_lockstep_files()
{
	compopt -o filenames 2> /dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

_lockstep_dirs()
{
	compopt -o filenames 2> /dev/null
	mapfile -t COMPREPLY < <(compgen -d -- "$cur")
}

# The argument of an option. False: it takes none.
_lockstep_value()
{
	case $1 in
	--root | --from | --data-dir) _lockstep_dirs ;;
	--mend) _lockstep_words "objects record identity" ;;
	--config | --cert | --key | --chain | --passphrase-file | --to | --token-file) _lockstep_files ;;
	--etcd-ca | --etcd-cert | --etcd-key) _lockstep_files ;;
	--out) _lockstep_files ;;
	-o | --output) _lockstep_words "text json" ;;
	--policy) _lockstep_words "$(_lockstep_policies)" ;;
	--initial-state) _lockstep_words "new existing" ;;
	--group) mapfile -t COMPREPLY < <(compgen -g -- "$cur") ;;
	--timeout | --cluster | --fqdn | --node | -n | --ttl | --etcd) COMPREPLY=() ;;
	--member | --listen | --initial-cluster | --client-port | --peer-port | --metrics-port | --san) COMPREPLY=() ;;
	*) return 1 ;;
	esac
}

# Sets the caller's words (those that are no options), root, config and, where one waits for its argument, option.
_lockstep_split()
{
	local i word value

	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		value=
		option=
		case $word in
		--root | --config | --from | --cert | --key | --chain | --passphrase-file | --to | --out | -o | --output | \
			--mend | --policy | --timeout | --cluster | --fqdn | --node | -n | --member | --listen | --initial-cluster | \
			--initial-state | --client-port | --peer-port | --metrics-port | --san | --data-dir | --group | \
			--token-file | --ttl | --etcd | --etcd-ca | --etcd-cert | --etcd-key)
			# bash takes --root=DIR apart at the '='
			[[ ${COMP_WORDS[i + 1]} == "=" ]] && ((i + 1 < COMP_CWORD)) && ((i++))
			if ((i + 1 >= COMP_CWORD)); then
				option=$word
				return
			fi
			value=${COMP_WORDS[++i]}
			;;
		-?*) ;;
		*) words+=("$word") ;;
		esac
		[[ $word == --root ]] && root=$value
		[[ $word == --config ]] && config=$value
	done
}

_lockstep_options()
{
	local options="--root --config -o --quiet --timeout --help --version"

	case "${words[*]:0:2}" in
	init*) options+=" --cluster --fqdn --node --policy --etcd --etcd-ca --etcd-cert --etcd-key" ;;
	"token create") options+=" --ttl" ;;
	join*) options+=" --token-file --node --replace --etcd-cert --etcd-key" ;;
	"node remove") options+=" --compromised" ;;
	"store migrate") options+=" --etcd --etcd-ca --etcd-cert --etcd-key" ;;
	status*) options+=" --watch" ;;
	"cert set") options+=" --cert --key --chain --passphrase-file --from --dry-run --detach" ;;
	"cert renew") options+=" --force --replace-installed" ;;
	"cert csr") options+=" --out" ;;
	"history show" | "history verify") ;;
	history*) options+=" -n" ;;
	rollback*) options+=" --dry-run" ;;
	"seal export") options+=" --to" ;;
	etcd-config*)
		options+=" --member --listen --initial-cluster --initial-state --client-port --peer-port --metrics-port --san"
		options+=" --data-dir --group"
		;;
	doctor*) options+=" --mend --from" ;;
	esac
	_lockstep_words "$options"
}

_lockstep_verbs()
{
	local count=${#words[@]}

	case "$count ${words[*]:0:2}" in
	0*) _lockstep_words "init token join status cert history rollback rotation node seal etcd-config store doctor" ;;
	"1 cert") _lockstep_words "list show set renew csr" ;;
	"1 seal") _lockstep_words "rotate forget export" ;;
	"1 token") _lockstep_words create ;;
	"1 rotation") _lockstep_words "show abort" ;;
	"1 node") _lockstep_words "list remove" ;;
	"1 store") _lockstep_words migrate ;;
	"2 node remove") _lockstep_words "$(_lockstep_nodes)" ;;
	"1 history") _lockstep_words "show verify $(_lockstep_components)" ;;
	"1 rollback" | "2 history show") _lockstep_words "$(_lockstep_generations)" ;;
	"2 cert show" | "2 cert set" | "2 cert csr" | *" cert renew") _lockstep_words "$(_lockstep_components)" ;;
	esac
}

_lockstep()
{
	local cur=${COMP_WORDS[COMP_CWORD]} command=$1 root=${LOCKSTEP_ROOT:-} config=${LOCKSTEP_CONFIG:-} option=
	local -a words=()

	COMPREPLY=()
	_lockstep_split
	[[ $cur == "=" ]] && cur=
	if [[ -n $option ]]; then
		_lockstep_value "$option"
	elif [[ $cur == -* ]]; then
		_lockstep_options
	else
		_lockstep_verbs
	fi
}

_rladmin()
{
	local cur=${COMP_WORDS[COMP_CWORD]} command=$1 root=${LOCKSTEP_ROOT:-} config=${LOCKSTEP_CONFIG:-} option=
	local -a words=()

	COMPREPLY=()
	_lockstep_split
	[[ $cur == "=" ]] && cur=
	if [[ -n $option ]]; then
		_lockstep_value "$option"
		return
	elif [[ $cur == -* ]]; then
		_lockstep_words "--root --config -o --quiet --timeout --help --version"
		return
	fi
	case ${#words[@]} in
	0) _lockstep_words cluster ;;
	1) _lockstep_words certificate ;;
	2) _lockstep_words set ;;
	3) _lockstep_words "$(_lockstep_components)" ;;
	4) _lockstep_words certificate_file ;;
	6) _lockstep_words key_file ;;
	5 | 7) _lockstep_files ;;
	esac
}

complete -F _lockstep lockstep
complete -F _rladmin rladmin
