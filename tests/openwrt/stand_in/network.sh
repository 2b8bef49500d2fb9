# What OpenWrt's /lib/functions/network.sh gives scripts: netifd's view of a network, here a file for each network that is
# up, which holds its device.
# shellcheck shell=dash disable=SC2034,SC2154

network_get_device() { # variable, network
	local up
	[ -s "$STAND_IN/up/$2" ] || return 1
	read -r up <"$STAND_IN/up/$2"
	eval "$1=\$up"
}
