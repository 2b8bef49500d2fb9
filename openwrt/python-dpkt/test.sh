#!/bin/sh
# The packages feed's CI runs this on a router's file system after it has installed the package $1, version $2.

[ "$1" = python3-dpkt ] || exit 0

python3 -c 'import sys, dpkt; sys.exit(dpkt.__version__ != sys.argv[1])' "${2%%-*}" || {
	echo "dpkt is not ${2%%-*}, or cannot be imported"
	exit 1
}
