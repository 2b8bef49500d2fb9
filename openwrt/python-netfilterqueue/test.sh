#!/bin/sh
# The packages feed's CI runs this on a router's file system after it has installed the package $1, version $2.

[ "$1" = python3-netfilterqueue ] || exit 0

python3 -c 'import sys, netfilterqueue; sys.exit(netfilterqueue.__version__ != sys.argv[1])' "${2%%-*}" || {
	echo "netfilterqueue is not ${2%%-*}, or cannot be imported"
	exit 1
}
