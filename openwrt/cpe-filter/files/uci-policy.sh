# shellcheck shell=dash
# UCI -> policy: the configuration `cpe-filter` as the TOML that the filter reads.
#
# Knows UCI, netifd's networks and how TOML writes a value. Must not know which values are valid: `cpe-filter check`
# checks the TOML, and `policy_place` translates its errors into UCI's names. So an unknown option is passed on and refused
# there, and the error names the nearest known one. Whatever a value holds, it becomes one TOML value and nothing else.
#
# Sourced by the init script; run by hand (`sh uci-policy.sh`) it prints the TOML.

# Keys that are not strings, by table and key; tests compare this list with the filter's own (policy/keys.py).
POLICY_KINDS="
filter.escalate flag
filter.queue number
filter.queue_length number
filter.queue_rate number
filter.block_minutes number
network.ports numbers
network.relays list
network.nat64 list
network.router_output flag
network.leases list
limits.connections_per_hour number
limits.connections_burst number
limits.destinations_per_hour number
limits.destinations_burst number
limits.messages_per_hour number
limits.messages_burst number
limits.recipients_per_hour number
limits.recipients_burst number
detect.watch_dns flag
detect.read_known flag
detect.replies list
status.status_interval_s number
status.metrics_interval_s number
explain.port number
explain.max_connections number
report.heartbeat flag
report.update_minutes number
report.hostnames flag
exempt.until date
"
# The service's own section, which is not part of a policy.
POLICY_MAIN="enabled policy_file jail"

# Prints the policy on standard output; its last line is `wan = [...]`. Status 1 and one line on standard error if UCI
# cannot be rendered. Lines that begin with "note: " say what was left out of a policy that is still valid. Run it in a
# subshell: it leaves UCI's callbacks behind, and pathnames are no longer expanded.
policy_render() {
	local said error='' section='' section_name='' seen=' ' list_name='' list='' fail=open
	local network='' lan='' wan='' lan_networks='' wan_networks='' name
	# Strict, unlike config_load, which would use only the part before a mistake.
	if ! said="$(uci export cpe-filter 2>&1 >/dev/null)"; then
		policy_say "/etc/config/cpe-filter: ${said#*uci: }"
		return 1
	fi
	LC_ALL=C
	set -f
	# shellcheck disable=SC2317 # config_load calls these
	config_cb() { policy_section "$@"; }
	# shellcheck disable=SC2317
	option_cb() { policy_end_list && policy_option "$@"; }
	# shellcheck disable=SC2317
	list_cb() {
		[ "$1" = "$list_name" ] || policy_end_list
		list_name="$1"
		policy_item "$@"
	}
	config_load cpe-filter
	policy_end_list
	[ -n "$lan$lan_networks" ] || lan_networks=lan
	if [ -z "$wan$wan_networks" ]; then
		for name in wan wan6; do
			uci -q get "network.$name" >/dev/null && wan_networks="$wan_networks $name"
		done
		wan_networks="${wan_networks:-wan}"
	fi
	policy_interfaces lan "$lan" "$lan_networks"
	policy_interfaces wan "$wan" "$wan_networks"
	printf '\n[network]\n%s' "$network"
	[ -z "$error" ] || policy_say "$error"
	[ -z "$error" ]
}

policy_section() { # type, name; neither at the end
	policy_end_list
	section="$1" section_name="$2"
	case "$section" in
	'') return ;;
	cpe-filter)
		[ "$section_name" = main ] || policy_bad "$section_name" "a section of type cpe-filter is called main"
		return
		;;
	*[!A-Za-z0-9_-]*) policy_bad "$section_name" "the section's type is unknown" ;;
	exempt) printf '\n[[exempt]]\n' && return ;;
	esac
	case "$seen" in
	*" $section "*) policy_bad "$section_name" "a second section of type $section; one is wanted" ;;
	esac
	seen="$seen$section "
	# The networks' devices are known at the end.
	[ "$section" = network ] || printf '\n[%s]\n' "$section"
}

policy_say() {
	printf '%s\n' "$1" | tr -c ' -~\n' '?' >&2
}

# The first mistake counts. $1: section and option; $2: what is wrong.
policy_bad() {
	error="${error:-cpe-filter.$1: $2}"
}

# One line of the section that is being rendered.
policy_line() {
	if [ "$section" = network ]; then
		network="$network$1
"
	else
		printf '%s\n' "$1"
	fi
}

# The kind of option $1 of the section, in $kind.
policy_kind() {
	case "$POLICY_KINDS" in
	*"
$section.$1 "*)
		kind="${POLICY_KINDS#*"
$section.$1 "}"
		kind="${kind%%"
"*}"
		;;
	*) kind=text ;;
	esac
}

policy_option() { # name, value
	local kind quoted item
	case "$section.$1" in
	*[!A-Za-z0-9_.-]*)
		policy_bad "$section_name" "an option's name is unknown"
		return
		;;
	cpe-filter.*)
		case " $POLICY_MAIN " in
		*" $1 "*) ;;
		*) policy_bad "$section_name.$1" "unknown option; known: $POLICY_MAIN" ;;
		esac
		return
		;;
	network.lan | network.wan | network.lan_network | network.wan_network)
		for item in $2; do policy_item "$1" "$item"; done
		return
		;;
	filter.fail) fail="$2" ;;
	esac
	policy_kind "$1"
	case "$kind" in
	list | numbers) # `option` in place of `list`: several, with spaces between
		list_name="$1"
		for item in $2; do policy_item "$1" "$item"; done
		policy_end_list
		;;
	*)
		policy_value "$kind" "$2"
		policy_line "$1 = $quoted"
		;;
	esac
}

# One item of a list.
policy_item() { # name, value
	local kind quoted
	case "$section.$1" in
	*[!A-Za-z0-9_.-]*) policy_bad "$section_name" "a list's name is unknown" ;;
	cpe-filter.*) policy_bad "$section_name.$1" "no list is wanted here" ;;
	network.lan_network | network.wan_network)
		case "$2" in
		'' | *[!A-Za-z0-9_]*) policy_bad "$section_name.$1" "no network can have such a name" ;;
		*) [ "$1" = lan_network ] && lan_networks="$lan_networks $2" || wan_networks="$wan_networks $2" ;;
		esac
		;;
	network.lan | network.wan)
		policy_value text "$2"
		[ "$1" = lan ] && lan="$lan${lan:+, }$quoted" || wan="$wan${wan:+, }$quoted"
		;;
	*)
		policy_kind "$1"
		policy_value "${kind%s}" "$2"
		# In UCI `list leases ''` means that there are none.
		[ -z "$2" ] || list="$list${list:+, }$quoted"
		;;
	esac
}

policy_end_list() {
	local name="$list_name"
	list_name=''
	case "$section.$name" in
	*. | cpe-filter.* | *[!A-Za-z0-9_.-]* | network.lan | network.wan | network.lan_network | network.wan_network) ;;
	*) policy_line "$name = [$list]" ;;
	esac
	list=''
}

# A value of a kind as TOML, in $quoted. A malformed number, boolean or date becomes a string, which `check` refuses.
policy_value() { # kind, value
	quoted="$2"
	case "$1" in
	flag)
		case "$2" in
		1 | on | true | yes | enabled) quoted=true && return ;;
		0 | off | false | no | disabled) quoted=false && return ;;
		esac
		;;
	number)
		case "$2" in
		'' | *[!0-9]* | 0?* | ????????????????*) ;; # fewer than 16 digits: more are no number for anybody
		*) return ;;
		esac
		;;
	date)
		case "$2" in
		*[!0-9TtZz:.+\ -]*) ;;
		[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*) return ;;
		esac
		;;
	esac
	policy_quote "$2"
}

# A text as TOML's basic string, in $quoted.
policy_quote() {
	local rest="$1" head char
	quoted=''
	while :; do
		head="${rest%%[\"\\[:cntrl:]]*}"
		quoted="$quoted$head"
		[ "$head" != "$rest" ] || break
		rest="${rest#"$head"}"
		char="${rest%"${rest#?}"}"
		rest="${rest#?}"
		case "$char" in
		[\"\\]) quoted="$quoted\\$char" ;;
		*) quoted="$quoted$(printf '\\u%04X' "'$char")" ;;
		esac
	done
	quoted="\"$quoted\""
}

# Adds `lan` or `wan` to the table [network]: the devices that UCI names, and those of its networks.
policy_interfaces() { # key, quoted devices, networks
	local there="$2" absent='' unknown='' name device quoted
	for name in $3; do
		if ! policy_device "$name"; then
			unknown="$unknown $name"
			continue
		fi
		policy_quote "$device"
		case ", $there, $absent, " in *", $quoted, "*) continue ;; esac
		# Fail open filters at once what can be filtered. Fail closed waits for all; otherwise mail could leave through an
		# interface that comes up before it is added.
		if [ "$fail" = closed ] || policy_exists "$device"; then
			there="$there${there:+, }$quoted"
		else
			absent="$absent${absent:+, }$quoted"
		fi
	done
	if [ -z "$there$absent" ]; then
		policy_bad "network.$1_network" "no device is known of$unknown; name it by \`list $1\`"
	elif [ -z "$there" ]; then
		there="$absent" # the service waits for it
	elif [ -n "$absent$unknown" ]; then
		policy_say "note: $1 is $there for now, without $absent$unknown"
	fi
	network="$network$1 = [$there]
"
}

# Whether a device is there, or is one of $POLICY_DEVICES, those of a filter that runs.
policy_exists() {
	case "${POLICY_DEVICES:-}" in *" $1 "*) return 0 ;; esac
	[ -e "/sys/class/net/$1" ]
}

# The device of a logical network, in $device: as netifd has it or, while it is down, as netifd will call it.
policy_device() {
	local network="$1" proto turn
	for turn in 1 2 3 4; do # an alias of an alias of...
		network_get_device device "$network" && [ -n "$device" ] && return
		proto="$(uci -q get "network.$network.proto")"
		case "$proto" in
		ppp | pppoe | pppoa | pptp | l2tp | 6in4 | 6rd | 6to4 | map) device="$proto-$network" && return ;;
		dslite) device="ds-$network" && return ;;
		464xlat) device="464-$network" && return ;;
		wireguard) device="$network" && return ;;
		esac
		device="$(uci -q get "network.$network.device" || uci -q get "network.$network.ifname")" || return
		device="${device%% *}"
		case "$device" in
		'' | /*) return 1 ;; # a modem's own device, not the network's
		@*[!A-Za-z0-9_]*) return 1 ;;
		@*) network="${device#@}" ;; # an alias
		*) return ;;
		esac
	done
	return "$turn"
}

# An error of `cpe-filter check` about a rendered policy, with UCI's names. $1: the policy; $2: the error.
policy_place() {
	local said="${2#cpe-filter: }" place rest number
	said="${said#"$1: "}"
	case "$said" in
	'[[exempt]] number '*)
		rest="${said#*\]\] number }"
		number="${rest%% *}"
		rest="${rest#* }"
		place="@exempt[$((number - 1))]"
		case "$rest" in
		device\ * | destination\ * | until\ * | reason\ *) place="$place." ;;
		*) place="$place: " ;;
		esac
		;;
	'['*'] '*)
		place="${said%%\] *}"
		place="${place#\[}"
		rest="${said#*\] }"
		case "$rest" in
		unknown\ *) place="$place: " ;;
		*) place="$place." ;;
		esac
		;;
	'not TOML: '*'(at line '*)
		number="${said##*\(at line }"
		rest="${said#not TOML: }"
		rest=" is wrong: ${rest% \(at line *}"
		place="$(policy_line_of "$1" "${number%%,*}")"
		case "$place" in *.until) rest=' is no date; allowed: a date such as 2027-01-31, or a date and time' ;; esac
		;;
	'not UTF-8 text (byte '*)
		number="${said##*byte }"
		rest=' is not UTF-8 text'
		place="$(policy_line_of "$1" "$(($(head -c "${number%\)*}" "$1" | wc -l) + 1))")"
		;;
	*)
		printf 'cpe-filter: %s\n' "$said"
		return
		;;
	esac
	printf 'cpe-filter.%s%s\n' "$place" "$rest"
}

# The option that line $2 of a rendered policy came from.
policy_line_of() {
	awk -v wanted="$2" '
		/^\[\[exempt\]\]$/ { section = "@exempt[" count++ "]"; next }
		/^\[/ { section = substr($0, 2, length($0) - 2); next }
		NR == wanted { print section "." $1; exit }' "$1"
}

case "$0" in
*uci-policy.sh)
	# shellcheck source=/dev/null
	. /lib/functions.sh
	# shellcheck source=/dev/null
	. /lib/functions/network.sh
	policy_render
	;;
esac
