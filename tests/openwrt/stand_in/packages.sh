# What OpenWrt's /lib/functions.sh does for packages' scripts, by what base-files of 23.05 to 25.12 does: the order of an
# installation, an upgrade and a removal, with opkg's lists and apk's. Not in an image, and no alternatives, kernel
# modules or sysctl files.
# shellcheck shell=dash disable=SC2154,SC1090

lists() { # the files of a package, one a line
	cat "/usr/lib/opkg/info/$pkgname.list" "/lib/apk/packages/$pkgname.list" 2>/dev/null
}

default_postinst() {
	local place ret=0
	: "${pkgname:=$(basename "${1%.*}")}"
	[ ! -e "/usr/lib/opkg/info/$pkgname.list" ] || add_group_and_user
	if lists | grep -q '^/etc/uci-defaults/'; then
		for place in $(lists | grep '^/etc/uci-defaults/'); do
			# In a shell of its own, in its folder; gone when it has ended well.
			(cd /etc/uci-defaults && . "$place") && rm -f "$place"
		done
		uci commit
	fi
	# opkg's own script is in here; apk's follows when all is done.
	if [ -f "/usr/lib/opkg/info/$pkgname.postinst-pkg" ]; then
		(. "/usr/lib/opkg/info/$pkgname.postinst-pkg")
		ret=$?
	fi
	for place in $(lists | grep '^/etc/init.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$place" enable
		"$place" start
	done
	return "$ret"
}

default_prerm() {
	local place ret=0
	: "${pkgname:=$(basename "${1%.*}")}"
	if [ -f "/usr/lib/opkg/info/$pkgname.prerm-pkg" ]; then
		(. "/usr/lib/opkg/info/$pkgname.prerm-pkg")
		ret=$?
	fi
	for place in $(lists | grep '^/etc/init.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$place" disable
		"$place" stop
	done
	return "$ret"
}

# Makes users and groups. Nothing removes them.
add_group_and_user() {
	local pair user group id
	for pair in $(sed -n 's/^Require-User: *//p' "/usr/lib/opkg/info/$pkgname.control" 2>/dev/null) \
		$(cat "/lib/apk/packages/$pkgname.rusers" 2>/dev/null); do
		user="${pair%%:*}" group="${pair#*:}"
		user="${user%%=*}" group="${group%%[:=]*}" id=32768
		while cut -d: -f3 /etc/passwd /etc/group | grep -qx "$id"; do id=$((id + 1)); done
		grep -q "^$group:" /etc/group || echo "$group:x:$id:$user" >>/etc/group
		grep -q "^$user:" /etc/passwd || {
			echo "$user:x:$id:$id:$user:/var/run/$user:/bin/false" >>/etc/passwd
			echo "$user:x:0:0:99999:7:::" >>/etc/shadow
		}
	done
}
