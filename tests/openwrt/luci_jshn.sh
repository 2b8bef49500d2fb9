# What OpenWrt's jshn.sh does, as far as the plugin uses it, and as its users know it: json_init, json_load,
# json_get_type, json_get_var, json_add_*, json_close_object, json_dump. Written anew for the tests. Like the real one:
# values pass through shell variables, keys keep letters, digits and `_` alone, a text ends at a NUL, and a load that
# fails leaves everything as it was and says so on stderr, with exit status 0.

json_init() {
	local name
	for name in $_jshn_names; do
		unset "_jshn_T_$name" "_jshn_V_$name"
	done
	_jshn_names=
	_jshn_out=
	_jshn_count=0
}

_jshn_set() { # name type value
	export "_jshn_T_$1=$2" "_jshn_V_$1=$3"
	_jshn_names="$_jshn_names $1"
}

json_load() {
	eval "$("$JSHN_PYTHON" "$JSHN" load "$1")"
}

json_get_type() {
	eval "$1=\$_jshn_T_$2; [ -n \"\${_jshn_T_$2+x}\" ]"
}

json_get_var() {
	eval "$1=\$_jshn_V_$2; [ -n \"\${_jshn_V_$2+x}\" ]"
}

_jshn_add() { # type name value
	_jshn_count=$((_jshn_count + 1))
	export "_jshn_O_$_jshn_count=$1:$2:$3"
}

json_add_string() { _jshn_add string "$1" "$2"; }
json_add_boolean() { _jshn_add boolean "$1" "$2"; }
json_add_int() { _jshn_add int "$1" "$2"; }
json_add_object() { _jshn_add object "$1" ""; }
json_close_object() { _jshn_add close "" ""; }

json_dump() {
	"$JSHN_PYTHON" "$JSHN" dump "$_jshn_count"
}
