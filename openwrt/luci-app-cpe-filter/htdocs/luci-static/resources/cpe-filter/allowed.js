'use strict';
'require baseclass';

/*
 * What a setting may be: the rules of cpe_filter/policy/file.py, by its kinds of keys, and those of cpe_filter/uci/options.py
 * for the service's own, for values as UCI has them. A test holds both against the same values. Must not know which
 * settings there are.
 *
 * A kind: {widget: Value, Flag, ListValue or DynamicList; check: a text -> "" or what is allowed instead; many: the
 * same for all items of a list; words: what to choose from}.
 */

/* Bytes of a Unix socket's path; characters of a text, an address on the web, a version, a provider's name and a reason. */
const SOCKET = 107, TEXT = 400, URL_LENGTH = 200, VERSION = 64, PROVIDER = 60, REASON = 200;
/* Characters of the service's own addresses and paths, of a region, and of a router's name after the first. */
const LONGEST = 1024, REGION = 64, NAME = 63;
/* Items of a list of paths, of ports, and of any list. */
const PATHS = 8, PREFIXES = 8, PORTS = 8, URLS = 8, REPLIES = 200, MACS = 64, ITEMS = 1024;
/* Classes of refusals, characters of a pattern, its parts (cpe_filter/policy/reply_patterns.py). */
const CLASSES = [
	'unknown-user', 'residential-line', 'dnsbl-listed', 'unnamed-list', 'mixed-list', 'sender-rejected', 'content', 'policy',
	'relaying-denied', 'mailbox-full', 'message-size', 'rate-limited', 'greylisted', 'server-trouble', 'protocol-error',
	'not-implemented'
], PATTERN = 200, PARTS = 6;
/* Ports of submission: never touched (RFC 5068 section 3.1). */
const NEVER = [ 465, 587 ];

/* What Python's isprintable refuses that can be typed or pasted: controls, marks of direction, separators, unassigned. */
const UNPRINTABLE = /\p{C}|[^\P{Z} ]/u;
const ASCII = /^[ -~]*$/;

function whole(text, low, high) {
	return /^[0-9]{1,9}$/.test(text) && (text == '0' || text.charAt(0) != '0') && +text >= low && +text <= high;
}

function ipv4(text) {
	const parts = text.split('.');
	return parts.length == 4 && parts.every(function(part) { return whole(part, 0, 255); });
}

function ipv6(text) {
	const last = text.lastIndexOf(':');
	/* The last 32 bits may be written as IPv4. */
	if (text.indexOf('.') >= 0)
		return ipv4(text.substr(last + 1)) && ipv6(text.substr(0, last + 1) + '0:0');
	const halves = text.split('::');
	const groups = halves.map(function(half) { return half == '' ? [] : half.split(':'); });
	const count = groups.reduce(function(sum, group) { return sum + group.length; }, 0);
	return halves.length <= 2 && (halves.length == 2 ? count <= 7 : count == 8) &&
		groups.every(function(group) {
			return group.every(function(part) { return /^[0-9a-f]{1,4}$/i.test(part); });
		});
}

function network(text) {
	const slash = text.indexOf('/'), address = slash < 0 ? text : text.substr(0, slash);
	const prefix = slash < 0 ? '0' : text.substr(slash + 1);
	return (ipv4(address) && whole(prefix, 0, 32)) || (ipv6(address) && whole(prefix, 0, 128));
}

function url(text) {
	if (text.length > URL_LENGTH || !ASCII.test(text) || /[ "<>\\^`{|}]/.test(text))
		return false;
	/* No user name: https://isp.example@evil.example is not what it seems. */
	return /^https:\/\/[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*(:[0-9]+)?([/?#].*)?$/.test(text);
}

/* Printable ASCII without spaces around it. */
function plain(text, most) {
	return text.length > 0 && text.length <= most && ASCII.test(text) && text == text.trim();
}

function server(text) {
	const found = text.match(/^https:\/\/([^\/@?# ]+?)\/?$/), port = found && found[1].match(/:([^:\]]*)$/);
	return plain(text, LONGEST) && !!found && (!port || (port.index > 0 && /^[0-9]{1,5}$/.test(port[1]) && +port[1] > 0 && +port[1] < 65536));
}

function words(text) {
	return text.match(/[a-z0-9$]+/gi) || [];
}

function part(text) {
	if (text.charAt(0) == '!') {
		const rest = text.substr(1).trim();
		return rest.charAt(0) != '!' && part(rest);
	}
	if (/^[45]([0-9]{2}|xx)$/.test(text) || (text.length <= 9 && /^[45]\.[0-9]+\.([0-9]+\*?|\*)$/.test(text)))
		return true;
	if (text.charAt(0) == '=')
		return words(text).join('_').length > 1;
	const letters = words(text).filter(function(word) { return !/^[0-9]+$/.test(word); }).join('');
	return letters.length >= 3 && letters.indexOf('$') < 0;
}

function reply(text) {
	const colon = text.indexOf(':'), says = text.substr(colon + 1);
	const parts = says.split('+').map(function(each) { return each.trim(); });
	return ASCII.test(text) && CLASSES.indexOf(text.substr(0, Math.max(colon, 0)).trim()) >= 0 &&
		says.length <= PATTERN && parts.length <= PARTS && parts.every(part) &&
		parts.some(function(each) { return each.charAt(0) != '!'; });
}

function path(text) {
	return text.charAt(0) == '/' && text.indexOf('\0') < 0;
}

function line(text, most) {
	return [ ...text ].length <= most && !UNPRINTABLE.test(text) && text == text.trim();
}

function kind(widget, good, allowed, more) {
	return Object.assign({
		widget: widget,
		check: function(text) { return good(text) ? '' : _('Allowed: %s').format(allowed); }
	}, more);
}

function counted(least, most) {
	return {
		many: function(items) {
			return items.length >= least && items.length <= most ? '' : _('Allowed: %d to %d entries').format(least, most);
		}
	};
}

const absolute = _('an absolute path, such as /etc/cpe-filter/state');

return baseclass.extend({
	number: function(low, high) {
		return kind('Value', function(text) { return whole(text, low, high); }, _('a whole number from %d to %d').format(low, high));
	},

	word: function(words) {
		return kind('ListValue', function(text) {
			return words.some(function(word) { return word[0] == text; });
		}, words.map(function(word) { return word[0]; }).join(', '), { words: words });
	},

	kinds: {
		flag: kind('Flag', function(text) { return text == '0' || text == '1'; }, '0, 1'),
		text: kind('Value', path, absolute),
		file: kind('Value', path, absolute),
		socket: kind('Value', function(text) {
			return path(text) && new TextEncoder().encode(text).length <= SOCKET;
		}, _('an absolute path of at most %d bytes').format(SOCKET)),
		sentence: kind('Value', function(text) {
			return ASCII.test(text) && line(text, TEXT);
		}, _('one line of at most %d letters of English, digits and signs').format(TEXT)),
		url: kind('Value', url, _('an address that begins with https://')),
		user: kind('Value', function(text) {
			return text != 'root' && /^[a-z_][a-z0-9_-]{0,31}$/.test(text);
		}, _('the name of a user, not root')),
		version: kind('Value', function(text) {
			return new RegExp('^[0-9A-Za-z._+-]{1,' + VERSION + '}$').test(text);
		}, _('at most %d letters, digits, and ._+-').format(VERSION)),
		title: kind('Value', function(text) { return line(text, PROVIDER); }, _('one line of at most %d characters').format(PROVIDER)),
		interfaces: kind('DynamicList', function(text) {
			return text != '.' && text != '..' && /^[0-9A-Za-z._@-]{1,15}$/.test(text);
		}, _('names of interfaces, such as br-lan'), counted(1, ITEMS)),
		names: kind('DynamicList', function(text) {
			return /^[0-9A-Za-z_]{1,15}$/.test(text);
		}, _('names of networks, such as lan'), counted(1, ITEMS)),
		ports: kind('DynamicList', function(text) {
			return whole(text, 1, 65535) && NEVER.indexOf(+text) < 0;
		}, _('ports from 1 to 65535, but never 465 and 587, by which people send their mail'), counted(1, PORTS)),
		networks: kind('DynamicList', network, _('addresses and networks, such as 192.0.2.25 or 2001:db8::/48'), counted(0, ITEMS)),
		prefixes: kind('DynamicList', function(text) {
			return text.indexOf(':') >= 0 && /\/(32|40|48|56|64|96)$/.test(text) && network(text);
		}, _('prefixes of 32, 40, 48, 56, 64 or 96 bits, such as 64:ff9b:1::/96'), counted(0, PREFIXES)),
		hours: kind('Value', function(text) {
			const ends = text.split('-');
			return ends.length == 2 && +ends[0] != +ends[1] && ends.every(function(end) { return /^[0-9]{1,2}$/.test(end) && +end <= 24; });
		}, _('two hours of the day, such as 8-22')),
		macs: kind('DynamicList', function(text) {
			return /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text);
		}, _('hardware addresses such as 02:00:00:12:34:56'), counted(0, MACS)),
		paths: kind('DynamicList', path, absolute, counted(0, PATHS)),
		/* Of the service's own sections. */
		pem: kind('Value', function(text) { return text.charAt(0) == '/' && plain(text, LONGEST); }, absolute),
		urls: kind('DynamicList', function(text) {
			return /^https:\/\/[^\/ ][^ ]*$/.test(text) && plain(text, LONGEST);
		}, _('an address that begins with https://'), counted(0, URLS)),
		server: kind('Value', server, _('https:// and a host, such as https://collector.isp.example:8444')),
		name: kind('Value', function(text) {
			return new RegExp('^[0-9A-Za-z][0-9A-Za-z._:@-]{0,' + NAME + '}$').test(text);
		}, _('at most %d letters, digits, and ._:@-').format(NAME + 1)),
		region: kind('Value', function(text) { return plain(text, REGION); }, _('one line of at most %d letters of English, digits and signs').format(REGION)),
		replies: kind('DynamicList', reply, _('a class, a colon and a pattern, such as unknown-user: no such person'), counted(0, REPLIES))
	},

	/* The options of a section `exempt` (cpe_filter/policy/model.py, exemption). */
	exempt: {
		device: kind('Value', function(text) {
			return text == 'any' || /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text);
		}, _('a hardware address such as 02:00:00:12:34:56, or any')),
		destination: kind('Value', function(text) {
			return text == 'any' || network(text);
		}, _('an address or network such as 192.0.2.25, or any')),
		until: kind('Value', function(text) {
			return /^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?)?$/.test(text) && !isNaN(new Date(text.replace(' ', 'T')));
		}, _('a day such as 2027-01-31')),
		reason: kind('Value', function(text) { return line(text, REASON); }, _('one line of at most %d characters').format(REASON))
	}
});
