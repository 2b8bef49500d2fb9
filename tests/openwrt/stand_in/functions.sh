# What OpenWrt's /lib/functions.sh gives scripts, as far as ours use it and by what is documented of it.
#
# config_load reads a configuration by `uci export`, not strictly: what stands before a mistake is taken. Each section,
# option and entry of a list goes to config_cb, option_cb and list_cb, where a script has defined them; config_cb once
# more, without arguments, at the end. config_get finds a list's entries with spaces between.
# shellcheck shell=dash disable=SC2034,SC2154

config_cb() { :; }
option_cb() { :; }
list_cb() { :; }

package() { :; }

config() {
	SECTION="$2"
	SECTIONS="$SECTIONS $2"
	eval "TYPE_$2=\$1"
	config_cb "$1" "$2"
}

option() {
	eval "VALUE_${SECTION}__$1=\$2"
	option_cb "$1" "$2"
}

list() {
	eval "VALUE_${SECTION}__$1=\"\${VALUE_${SECTION}__$1:+\$VALUE_${SECTION}__$1 }\$2\""
	list_cb "$1" "$2"
}

config_load() {
	local name
	for name in $(set | sed -n 's/^\(VALUE_[A-Za-z0-9_]*\|TYPE_[A-Za-z0-9_]*\)=.*/\1/p'); do unset "$name"; done
	SECTIONS='' SECTION=''
	eval "$(uci -S -n export "$1" 2>/dev/null)"
	[ -z "$SECTION" ] || config_cb
}

config_get() { # variable, section, option, default
	case "$2$3" in *[!A-Za-z0-9_]*) return ;; esac
	eval "$1=\"\${VALUE_$2__$3:-\$4}\""
}

config_get_bool() {
	local text
	config_get text "$2" "$3" "$4"
	case "$text" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	0 | off | false | no | disabled) eval "$1=0" ;;
	*) eval "$1=\$4" ;;
	esac
}

config_foreach() { # function, type
	# The real one's names: a function that assigns to these does not reach its caller's.
	local section cfgtype
	for section in $SECTIONS; do
		eval "cfgtype=\$TYPE_$section"
		[ "$cfgtype" != "$2" ] || "$1" "$section"
	done
}
