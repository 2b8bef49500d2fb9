'use strict';
'require baseclass';

/*
 * The words for what the filter knows about a device: names, standings, modes, times, signs. Knows the status object.
 * Must not know the layout of a page. Everything is plain text.
 */

/* The name in the status of devices that change their address all the time (cpe_filter/detect/device.py). */
const HOME = 'an unknown device of this home';

/* What a device is by its DHCP request (cpe_filter/home/dhcp_class.py); it may have made that up. */
const CLASSES = {
	'android': _('Android phone, tablet or TV box'),
	'apple': _('iPhone, iPad or Apple TV'),
	'console': _('Game console'),
	'embedded': _('Camera, NAS, set-top box or other small device'),
	'linux': _('Linux computer'),
	'mac': _('Mac'),
	'printer': _('Printer'),
	'windows': _('Windows PC')
};

/* By indicator, with the words of the filter's own notice (cpe_filter/detect/evidence.py); a test compares the two. */
const SIGNS = {
	'new-destination': _('It contacted mail servers all over the world that it had never used before.'),
	'breadth': _('One program on it writes to many different mail servers.'),
	'destination-burst': _('It contacted many new mail servers within a minute.'),
	'sustained': _('It contacts new mail servers hour after hour.'),
	'connect-refused': _('It tried mail servers that refuse connections.'),
	'connect-timeout': _('It tried mail servers that do not answer.'),
	'helo-dynamic': _('It introduces itself with a made-up technical name.'),
	'helo-address': _('It introduces itself with a number instead of a name.'),
	'helo-private': _('It introduces itself with an address that only exists in your home.'),
	'helo-unqualified': _('It introduces itself with a single word.'),
	'helo-empty': _('It introduces itself with no name at all.'),
	'helo-rotates': _('It introduces itself under many different names.'),
	'helo-domain-rotates': _('It introduces itself with names of many different companies.'),
	'sender-unrelated': _('It sends in the name of a domain that is not its own.'),
	'sender-rotates': _('It sends under many different sender domains.'),
	'new-pair': _('It writes to strangers under ever new names.'),
	'unauthenticated': _('It sends mail without an account at the mail server.'),
	'banner-refused': _('Mail servers reject it as soon as it connects.'),
	'unknown-user': _('It wrote to many addresses that do not exist.'),
	'dnsbl-listed': _('Mail servers report that your connection is on a blocklist of spam senders.'),
	'dnsbl-unlisted': _('A mail server did not find your connection on a blocklist.'),
	'residential-line': _('Mail servers do not accept mail that comes straight from home connections.'),
	'refused': _('Mail servers rejected what it sent.'),
	'deferred': _('A mail server asked it to try again later.'),
	'tls-too-short': _('Its encrypted connections to mail servers end before a message is sent.'),
	'early-talk': _('It talks like a spam program: it does not wait for the server\'s greeting.'),
	'blind-pipelining': _('It talks like a spam program: it does not wait for replies.'),
	'content-after-refusal': _('It talks like a spam program: it sends although it was rejected.'),
	'not-smtp': _('It uses the mail port for something else.'),
	'no-quit': _('It ends connections as spam programs do.'),
	'path-spaced': _('It writes mail commands as spam programs do.'),
	'helo-not-ehlo': _('It uses an outdated greeting, as many spam programs do.'),
	'declines-tls': _('It does not encrypt although it could.'),
	'verb-case': _('It writes mail commands as spam programs do.'),
	'many-recipients': _('It writes to very many people at once.'),
	'sender-is-recipient': _('It sends mail that claims to come from its recipient.'),
	'helo-is-recipient': _('It pretends to be the mail server that it contacts.'),
	'relayed': _('It passes on mail for a stranger on the Internet, as proxy programs in apps do.'),
	'from-router': _('The router itself sends mail, which it never should.'),
	'mx-lookup': _('It looks up mail servers as only mail servers do.'),
	'mx-foreign': _('It looks up mail servers past your router.'),
	'message-content': _('It sends messages to strangers.'),
	'accepted': _('A mail server accepted its message.'),
	'tls-carried': _('Its encrypted mail was accepted.'),
	'null-sender': _('It returns undeliverable mail.'),
	'retry-accepted': _('It tried again later, as mail servers do.'),
	'quit': _('It ends its connections properly.'),
	'authenticated': _('It has an account with the mail server.'),
	'private-extension': _('It belongs to the same organisation as the mail server.')
};

/*
 * What a standing means, whether there is something to do, and what. Most of the sentences are those of the notice that
 * subscribers get without LuCI (cpe_filter/texts/en.py); a test compares them in each language.
 */
const STANDINGS = {
	compromised: {
		label: _('Compromised'),
		action: true,
		means: _('This device sends e-mail the way spam programs do. It is most likely infected with malicious software. Owners rarely notice this themselves.'),
		steps: [
			_('Disconnect the device from the Internet: unplug its network cable or switch off its Wi-Fi. Its name and hardware address help you find it.'),
			_('Clean it: install all updates, remove programs that you do not know, and run a virus scanner. If it is a TV box, a camera or the like, reset it to factory settings and set a new password.'),
			_('Report that it is clean: choose “I have cleaned this device”.')
		]
	},
	unusual: {
		label: _('Is this your mail server?'),
		action: false,
		means: _('This device sends e-mail as a mail server does. If you run a mail server on it, allow it, so that the filter leaves it alone. If you do not, a program on it may be sending mail without your knowledge: check the device.'),
		steps: []
	},
	clear: {
		label: _('Nothing unusual'),
		action: false,
		means: _('Nothing unusual.'),
		steps: []
	}
};

/* By mode, what happens to mail that a device sends straight to servers outside: a title, and a sentence. */
const MODES = {
	monitor: [ _('What is blocked'), _('Nothing. The filter only watches.') ],
	limit: [ _('What is slowed down'), _('E-mail that this device sends straight to other mail servers (port 25).') ],
	block: [ _('What is blocked'), _('E-mail that this device sends straight to other mail servers (port 25).') ]
};

/* What follows from that: in mode block nothing may send straight, cleaned or not. */
function then(device, mode) {
	if (mode == 'block')
		return _('After that it counts as clean, and the filter keeps watching it. As on all your devices, mail still has to go through your mail service (ports 587 and 465).');
	return device.mode == 'block' ? _('After that it may send mail itself again, and the filter keeps watching it.')
		: _('After that it counts as clean, and the filter keeps watching it.');
}

const MAC = /^([0-9a-f]{2}(?::[0-9a-f]{2}){5})(?: (\S+))?$/;

function two(number) {
	return String(number).padStart(2, '0');
}

return baseclass.extend({
	/* Nats at which a device is suspected (cpe_filter/detect/score.py); the status has the threshold of a conviction. */
	SUSPECT_AT: 7.5,

	STANDINGS: STANDINGS,
	SIGNS: SIGNS,

	/* A suspicion is nothing to tell people of: such a device is shown like a clear one. */
	standing: function(device) {
		return STANDINGS[device.standing] || STANDINGS.clear;
	},

	/* Whether a device is one of those that have sent mail, and not the home's unknown one, which only counts when compromised. */
	ordinary: function(device) {
		return this.standing(device) == STANDINGS.clear && device.device != HOME;
	},

	/* [title, sentence] of what is blocked or slowed down. */
	mode: function(device) {
		return MODES[device.mode] || MODES.monitor;
	},

	works: function() {
		return [ _('What still works'), _('Everything else on this device: websites, video, webmail, and e-mail through your mail service (ports 587 and 465). Nothing changes for your other devices.') ];
	},

	/* What to do, in steps; for the router itself one. mode: that of the filter for every device. */
	steps: function(device, mode) {
		if (device.device == 'router' && device.standing == 'compromised')
			return [ _('This is the router itself. Please tell your Internet provider: it has to be updated or replaced.') ];
		if (device.device == HOME && device.standing == 'compromised')
			return [ _('The filter cannot tell which device this is, because it keeps changing its address. Devices that your router knows are not affected. Check the devices that you added last, and ask your Internet provider if you need help.') ];
		const steps = this.standing(device).steps;
		return steps.map(function(step, at) { return at == 2 ? step + ' ' + then(device, mode) : step; });
	},

	/* What a device is called: its name, or what it is. */
	called: function(device) {
		if (device.name)
			return String(device.name);
		if (device.device == HOME)
			return _('An unknown device in your home');
		return device.device == 'router' ? _('The router itself') : _('Device without a name');
	},

	/* The same with the end of its address, for where there is little room. */
	short: function(device) {
		const mac = this.mac(device.device);
		return mac ? '%s (…%s)'.format(this.called(device), mac.substr(9)) : '%s (%s)'.format(this.called(device), device.device);
	},

	/* The MAC by which it can be exempt; "" where it has none. */
	mac: function(device) {
		const found = MAC.exec(String(device));
		return found ? found[1] : '';
	},

	/* What distinguishes the device from others, in lines. */
	marks: function(device) {
		const found = MAC.exec(String(device.device)), out = [];
		if (found) {
			out.push(_('Hardware address: %s').format(found[1]));
			if (found[2])
				out.push('%s: %s'.format(_('Behind another router'), found[2]));
			else if (parseInt(found[1].charAt(1), 16) & 2)
				out.push(_('Random hardware address'));
			else
				out.push(_('Manufacturer code %s').format(found[1].substr(0, 8).toUpperCase()));
		}
		if (CLASSES.hasOwnProperty(device.class))
			out.push(_('%s, as it says itself').format(CLASSES[device.class]));
		if (Array.isArray(device.addresses) && device.addresses.length)
			out.push(_('Network addresses: %s').format(device.addresses.slice(0, 4).join(', ')));
		return out;
	},

	/* Since when it has its standing; POSIX seconds or null. */
	since: function(device) {
		const at = device.standing == 'compromised' ? device.compromised_at : device.standing == 'unusual' ? device.unusual_at : null;
		return at ? at.time : null;
	},

	/* POSIX seconds in the reader's own time and language. */
	time: function(seconds) {
		const date = new Date(seconds * 1000);
		if (seconds == null || isNaN(date))
			return '–';
		return date.toLocaleString(document.documentElement.lang || undefined, { dateStyle: 'medium', timeStyle: 'short' });
	},

	/* A duration in seconds as hours, minutes and seconds. */
	duration: function(seconds) {
		const whole = Math.max(0, Math.floor(seconds));
		const days = Math.floor(whole / 86400);
		const clock = two(Math.floor(whole / 3600) % 24) + ':' + two(Math.floor(whole / 60) % 60) + ':' + two(whole % 60);
		return days ? _('%d days, %s').format(days, clock) : clock;
	},

	/* The sentences of what was seen: against the device or for it, the heaviest first, none twice. */
	signs: function(device, against) {
		const found = (device.evidence || []).filter(function(item) {
			return against ? item.weight > 0 : item.weight < 0;
		}).sort(function(a, b) {
			return Math.abs(b.weight) - Math.abs(a.weight);
		}).map(function(item) {
			return SIGNS.hasOwnProperty(item.indicator) ? SIGNS[item.indicator] : _('Another sign: %s').format(item.indicator);
		});
		return found.filter(function(sentence, at) {
			return found.indexOf(sentence) == at;
		});
	}
});
