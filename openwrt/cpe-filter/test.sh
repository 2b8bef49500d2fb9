#!/bin/sh
# The packages feed's CI runs this on a router's file system after it has installed the package $1, version $2.

case "$1" in
cpe-filter)
	cpe-filter --version | grep -qF "cpe-filter ${2%%-*}" || {
		echo "cpe-filter --version does not say ${2%%-*}"
		exit 1
	}
	printf '[filter]\nmode = "monitor"\n' >/tmp/cpe-filter-test.toml
	cpe-filter check /tmp/cpe-filter-test.toml || exit 1
	rm /tmp/cpe-filter-test.toml
	cpe-filter rules | grep -q '^table inet cpe_filter {$' || {
		echo "cpe-filter rules prints no ruleset"
		exit 1
	}
	;;
cpe-filter-full)
	printf '[report]\nurl = "https://collector.example/"\n' >/tmp/cpe-filter-test.toml
	! cpe-filter check /tmp/cpe-filter-test.toml | grep "is installed" || exit 1
	rm /tmp/cpe-filter-test.toml
	;;
cpe-filter-explain)
	cpe-filter check --service /dev/null | grep -q '^explain ' || exit 1
	;;
cpe-filter-lang-*)
	language=${1##*-}
	python3 -c "from cpe_filter.texts.notice import Words; print(Words('$language', '')('h_none'))" || exit 1
	;;
cpe-filter-report)
	cpe-filter send --help >/dev/null || exit 1
	python3 -c 'import cpe_filter.send.send' || exit 1
	;;
esac
