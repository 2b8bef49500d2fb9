'use strict';
'require view';
'require form';
'require cpe-filter.allowed as allowed';
'require cpe-filter.style as style';

/*
 * The settings: UCI's `cpe-filter`, whose sections and options are the tables and keys of the policy. Knows their names,
 * defaults and meanings, as cpe_filter/policy/keys.py has them; a test keeps the two alike. Beside these there are the
 * service's own, and networks by the names that netifd gives them (cpe_filter/uci). What is not set has its
 * default, which is shown in its place. The service checks all of it again before it goes by it.
 */

const number = allowed.number, word = allowed.word, kinds = allowed.kinds;

/* [section, title, what it is about, [[option, kind, default, title, meaning]]] */
const SECTIONS = [
	[ 'filter', _('Filter'), _('What is done about mail that goes straight from a device to strangers\' mail servers.'), [
		[ 'version', kinds.version, '', _('Name of these settings'),
			_('What this policy is called; reports to the Internet provider name it.') ],
		// Not set is a choice of its own: a form that is saved must not set `block` where no relays are.
		[ 'mode', word([ [ '', _('Refuse it if mail relays are set, else only watch') ], [ 'monitor', _('Let it pass, and watch') ], [ 'limit', _('Limit it') ], [ 'block', _('Refuse it') ] ]), '', _('What happens to direct mail'),
			_('What happens to mail sent straight to strangers\' servers: nothing, a rate limit, or a refusal.') ],
		[ 'escalate', kinds.flag, '1', _('Be stricter with suspects'),
			_('Raise the mode of a suspected device to limit and of a compromised one to block.') ],
		[ 'refusal', word([ [ 'explain', _('Say why') ], [ 'reset', _('Hang up at once') ] ]), 'explain', _('How mail is refused'),
			_('What a refused device gets: the responder\'s explanation, or a reset at once. Over a limit always a reset.') ],
		[ 'fail', word([ [ 'open', _('Mail passes unfiltered') ], [ 'closed', _('No direct mail leaves') ] ]), 'open', _('When the filter does not run'),
			_('When the filter is dead or hangs: mail that is not blocked passes unfiltered, or none leaves on these ports.') ],
		[ 'queue', number(0, 65535), '25', _('Kernel queue'),
			_('Kernel queue (NFQUEUE) of packets that wait for the filter, and log group (NFLOG) of those it is only shown.') ],
		[ 'queue_length', number(1, 65535), '64', _('Length of the queue (packets)'),
			_('How many packets may wait for the filter. More are dropped, and their senders repeat them.') ],
		[ 'queue_rate', number(10, 1000000), '500', _('Packets of one device (per second)'),
			_('Packets of a device that the filter gets. More pass unobserved or, where they would wait for it, are refused.') ],
		[ 'block_minutes', number(1, 44640), '60', _('Blocked by the kernel for (minutes)'),
			_('How long the kernel goes on blocking a compromised device after the filter has last confirmed it.') ]
	] ],
	[ 'network', _('Network'), _('Where devices and the Internet are, and which mail is not looked at.'), [
		[ 'lan_network', kinds.names, [], _('Networks of the home'),
			_('As they are called under Network, Interfaces.') ],
		[ 'wan_network', kinds.names, [], _('Networks of the Internet'),
			_('As they are called under Network, Interfaces.') ],
		[ 'lan', kinds.interfaces, [], _('Devices of the home'),
			_('Where subscribers\' devices are.') ],
		[ 'wan', kinds.interfaces, [], _('Devices of the Internet'),
			_('Where the Internet is.') ],
		[ 'ports', kinds.ports, [ '25' ], _('Mail ports'),
			_('Destination ports that count as mail. 587 and 465 are never touched.') ],
		[ 'relays', kinds.networks, [], _('Mail relays of the provider'),
			_('The ISP\'s mail relays. Mail to these always passes and is not looked at.') ],
		[ 'nat64', kinds.prefixes, [], _('Prefixes of NAT64'),
			_('Prefixes of the network\'s NAT64 besides 64:ff9b::/96: a server behind it counts by its IPv4 address.') ],
		[ 'private_destinations', word([ [ 'pass', _('Pass unseen') ], [ 'filter', _('Treat like others') ] ]), 'pass', _('Private destinations'),
			_('Destinations in RFC 1918, RFC 6598, link-local and ULA space: passed unfiltered, or treated like any other.') ],
		[ 'router_output', kinds.flag, '1', _('Watch the router itself'),
			_('Watch mail that the router itself sends, too.') ],
		[ 'leases', kinds.paths, [ '/tmp/dhcp.leases', '/tmp/odhcpd.leases', '/tmp/hosts/odhcpd' ], _('Lease files'),
			_('Lease files of dnsmasq and odhcpd: devices\' names, and which random MAC follows which.') ]
	] ],
	[ 'limits', _('Limits'), _('What a device may send straight to other mail servers while its mail is limited.'), [
		[ 'connections_per_hour', number(1, 100000), '60', _('Connections (per hour)'),
			_('Mode limit: a device\'s connections.') ],
		[ 'connections_burst', number(1, 100000), '12', _('Connections at once'),
			_('How many of these at once.') ],
		[ 'destinations_per_hour', number(1, 100000), '20', _('New mail servers (per hour)'),
			_('Mode limit: servers the device had not used before.') ],
		[ 'destinations_burst', number(1, 100000), '6', _('New mail servers at once'),
			_('How many of these at once.') ],
		[ 'messages_per_hour', number(1, 100000), '60', _('Messages (per hour)'),
			_('Mode limit: a device\'s MAIL commands.') ],
		[ 'messages_burst', number(1, 100000), '20', _('Messages at once'),
			_('How many of these at once.') ],
		[ 'recipients_per_hour', number(1, 1000000), '100', _('Recipients (per hour)'),
			_('Mode limit: a device\'s RCPT commands.') ],
		[ 'recipients_burst', number(1, 1000000), '30', _('Recipients at once'),
			_('How many of these at once.') ]
	] ],
	[ 'detect', _('Detection'), _('What is looked at besides mail itself.'), [
		[ 'watch_dns', kinds.flag, '1', _('Count look-ups of mail servers'),
			_('Count what devices in the LAN ask DNS for mail servers (MX). No names are kept.') ],
		[ 'read_known', kinds.flag, '0', _('Read mail to known servers, too'),
			_('Read, too, what a clear device says to networks of servers that have answered it before: only to count it.') ],
		[ 'submission', kinds.flag, '1', _('Count connections to submission servers'),
			_('Count devices\' connections to submission ports (465, 587, 2525) and their servers: reported, never blocked.') ],
		[ 'replies', kinds.replies, [], _('Wordings of refusals'),
			_('Wordings of servers\' refusals and what they mean; these come before the built-in ones (replies.md).') ]
	] ],
	[ 'status', _('Status'), _('What the running filter tells, and where it takes commands.'), [
		[ 'status_file', kinds.text, '/var/run/cpe-filter/status.json', _('Status file'),
			_('Where the running filter writes what it knows.') ],
		[ 'status_interval_s', number(1, 3600), '5', _('Written every (seconds)'),
			_('How often it is written.') ],
		[ 'metrics_file', kinds.file, '', _('Metrics file'),
			_('Where it writes its counters for Prometheus\' node exporter (textfile); empty: nowhere.') ],
		[ 'metrics_interval_s', number(1, 3600), '60', _('Metrics every (seconds)'),
			_('How often these are written.') ],
		[ 'control_socket', kinds.socket, '/var/run/cpe-filter/control', _('Control socket'),
			_('Where the running filter takes commands: `reload`, `exempt` and `release`.') ]
	] ],
	[ 'state', _('State'), _('What is kept across restarts.'), [
		[ 'state_file', kinds.text, '/etc/cpe-filter/state', _('State file'),
			_('Where it keeps what it knows across restarts; on flash, written at most once an hour.') ],
		[ 'exemptions_file', kinds.text, '/etc/cpe-filter/exemptions.toml', _('Exemptions file'),
			_('Where `cpe-filter exempt` keeps its exemptions, apart from this file\'s.') ]
	] ],
	[ 'explain', _('Refusals'), _('The responder that tells refused mail why.'), [
		[ 'text', kinds.sentence, '', _('Text of a refusal'),
			_('What the responder says to refused mail; bounces carry it. Empty: the text in the language of [notice].') ],
		[ 'url', kinds.url, '', _('Page with more'),
			_('Where subscribers read more, shown after the text. Empty: `[notice] help_url`.') ],
		[ 'port', number(1, 65535), '2525', _('Port'),
			_('Where the responder listens.') ],
		[ 'max_connections', number(8, 512), '64', _('Connections at once'),
			_('How many it answers at once; an eighth for a client.') ],
		[ 'user', kinds.user, 'nobody', _('User'),
			_('Who the responder becomes when root starts it.') ],
		[ 'tests', kinds.flag, '1', _('Test refused senders'),
			_('Ask clients what mail programs and bots answer differently; off: none of the following.') ],
		[ 'test_patience', kinds.flag, '1', _('Test: patience'),
			_('Say the greeting in two parts, with a pause between them: who talks first?') ],
		[ 'test_replies', kinds.flag, '1', _('Test: long replies'),
			_('Give replies of several lines, in ways that the standard allows: who gets lost?') ],
		[ 'test_starttls', kinds.flag, '1', _('Test: STARTTLS'),
			_('Offer STARTTLS, and answer it with 454 and the text: who asks for it?') ],
		[ 'test_retry', kinds.flag, '1', _('Test: second attempt'),
			_('Answer a client\'s first recipients with 450 and the text, and with 554 when it tries again: who does?') ]
	] ],
	[ 'report', _('Reports'), _('What the Internet provider is told. Without an address nothing is.'), [
		[ 'url', kinds.url, '', _('Address of the collector'),
			_('Where `cpe-filter send` brings reports of compromised devices; empty: nothing is reported.') ],
		[ 'ca', kinds.text, '/etc/cpe-filter/collector-ca.pem', _('Certificates of the collector'),
			_('The certificates (PEM) by which the collector is recognised.') ],
		[ 'certificate', kinds.text, '/etc/cpe-filter/router.pem', _('Certificate of this router'),
			_('This router\'s certificate (PEM); it says who it is.') ],
		[ 'key', kinds.text, '/etc/cpe-filter/router.key', _('Key of this router'),
			_('Its private key (PEM), mode 0600 or 0640.') ],
		[ 'user', kinds.user, 'cpe-filter', _('User'),
			_('Who `send` becomes when root starts it.') ],
		[ 'heartbeat', kinds.flag, '1', _('Report daily that it works'),
			_('Report once a day that the filter works, with counts.') ],
		[ 'update_minutes', number(5, 1440), '15', _('Updates at most every (minutes)'),
			_('How often at most an incident is reported while it lasts.') ],
		[ 'hostnames', kinds.flag, '0', _('Report device names'),
			_('Report what a device calls itself in DHCP, too.') ]
	] ],
	[ 'enrol', _('Certificate'), _('How this router gets the certificate that it reports with. Without an address it is the one that somebody puts there.'), [
		[ 'enabled', kinds.flag, '1', _('Get and renew a certificate'),
			_('The service does so when it is due. Off: the certificate that is there is used until it ends.') ],
		[ 'url', kinds.server, '', _('Address of the certificate server'),
			_('The Internet provider\'s server for certificates (EST).') ],
		[ 'ca', kinds.pem, '', _('Certificates of the server'),
			_('The certificates (PEM) by which it is recognised. Left empty: those of the collector.') ],
		[ 'id', kinds.name, '', _('Name of this router'),
			_('What the Internet provider knows it by. Left empty: the name in its certificate or, before the first one, its hardware address.') ],
		[ 'factory_key', kinds.pem, '', _('Key of the factory'),
			_('The private key (PEM) that this router was made with; it shows which router this is.') ],
		[ 'factory_certificate', kinds.pem, '', _('Certificate of the factory'),
			_('The certificate (PEM) of that key, if there is one.') ],
		[ 'token', kinds.pem, '', _('One-time token'),
			_('A file with a token that the Internet provider has given out for this router.') ],
		[ 'splay_minutes', number(0, 1440), '60', _('Spread over (minutes)'),
			_('After a start the router waits for its own moment of these minutes, so that all the provider\'s routers do not come at once.') ]
	] ],
	[ 'provision', _('Signed documents'), _('Settings, detection rates and wordings that the Internet provider has signed. They come before what is set on these pages.'), [
		[ 'enabled', kinds.flag, '1', _('Use signed documents'),
			_('They count, and are fetched. Off: neither.') ],
		[ 'url', kinds.urls, [], _('Addresses of documents'),
			_('Where they are fetched. Left empty: those that are on the router count.') ],
		[ 'ca', kinds.pem, '', _('Certificates of the server'),
			_('The certificates (PEM) by which it is recognised. Left empty: those of the system.') ],
		[ 'every_hours', number(1, 720), '24', _('Fetched every (hours)'),
			_('The time between two fetches.') ],
		[ 'splay_minutes', number(0, 1440), '60', _('Spread over (minutes)'),
			_('After a start the router waits for its own moment of these minutes, so that all the provider\'s routers do not come at once.') ],
		[ 'region', kinds.region, '', _('Region'),
			_('Where this router is, for documents that are for one region.') ]
	] ],
	[ 'notice', _('Notice'), _('How subscribers are informed.'), [
		[ 'language', word([ [ 'en', 'English' ], [ 'nl', 'Nederlands' ], [ 'de', 'Deutsch' ], [ 'tr', 'Türkçe' ] ]), 'en', _('Language'),
			_('The language of texts for subscribers: page and refusals.') ],
		[ 'provider', kinds.title, '', _('Name of the provider'),
			_('The Internet provider\'s name, as subscribers know it.') ],
		[ 'help_url', kinds.url, '', _('Help page of the provider'),
			_('Where the provider helps and takes objections. Nothing else is linked to.') ],
		[ 'help_phone', kinds.title, '', _('Help by phone'),
			_('The number that subscribers call for help, as texts show it.') ],
		[ 'page', kinds.file, '', _('File of the notice page'),
			_('Where the running filter writes the subscriber\'s page, in tmpfs, for uhttpd; empty: nowhere.') ],
		[ 'show', word([ [ 'off', _('No device\'s') ], [ 'device', _('The compromised device\'s') ], [ 'home', _('All devices\', now and then') ] ]), 'device', _('Whose web pages lead to the notice'),
			_('Whose plain HTTP (port 80) leads to the notice: no device\'s; a compromised device\'s, until it is answered there; also that of the home\'s other devices, now and then.') ],
		[ 'show_port', number(1, 65535), '2580', _('Port of the notice'),
			_('Where the responder serves it.') ],
		[ 'hours', kinds.hours, '0-24', _('Hours of the day'),
			_('At which hours of the day (local time) HTTP leads there.') ],
		[ 'times_a_day', number(1, 24), '1', _('Times a day'),
			_('How often for each of the other devices, with `home`; and how often a device is reminded.') ],
		[ 'emergency', kinds.macs, '', _('Devices for emergencies'),
			_('Devices that must always work: their HTTP never leads there, and they are never in quarantine.') ],
		[ 'self_release', number(0, 20), '2', _('Releases by people themselves'),
			_('How often people may release a device themselves, on the notice served to it; then the ISP does.') ],
		[ 'self_exempt', kinds.flag, '0', _('People may exempt mail servers'),
			_('Let people exempt their mail server themselves there; off: it is an objection.') ],
		[ 'remind_days', number(0, 30), '7', _('Reminder after (days)'),
			_('After how many days a device whose users have "seen" it, and that still sends, is shown it again; 0: never.') ],
		[ 'quarantine', kinds.flag, '0', _('Quarantine'),
			_('A compromised device reaches the router, DNS and helpful sites only, until it is released.') ],
		[ 'quarantine_days', number(1, 30), '30', _('Quarantine at most (days)'),
			_('After how many days the quarantine ends in any case.') ],
		[ 'helpful', kinds.networks, [], _('Helpful addresses'),
			_('What a device in quarantine may reach on the Internet.') ]
	] ]
];

/* What most people need, by section; everything else stands under Advanced. Sections come in this order. */
const BASIC = {
	main: [ 'enabled' ],
	filter: [ 'mode', 'escalate', 'refusal', 'fail' ],
	network: [ 'lan_network', 'wan_network', 'relays' ],
	notice: [ 'language', 'provider', 'help_url', 'help_phone', 'show', 'quarantine', 'self_release', 'self_exempt' ],
	report: [ 'url', 'heartbeat', 'hostnames' ],
	enrol: [ 'enabled', 'url', 'id' ],
	provision: [ 'enabled', 'url' ],
	explain: [ 'text', 'url' ],
	limits: [ 'connections_per_hour', 'destinations_per_hour', 'messages_per_hour', 'recipients_per_hour' ],
	detect: [ 'watch_dns', 'submission' ],
	status: [],
	state: []
};

/* Two tabs where a section has both kinds of options. */
function fill(section, options) {
	const basic = BASIC[section.section];
	if (basic.length) {
		section.tab('basic', _('Basic'));
		section.tab('advanced', _('Advanced'));
	}
	options.forEach(function(option) {
		const tab = !basic.length ? null : basic.indexOf(option[0]) >= 0 ? 'basic' : 'advanced';
		add.apply(null, [ section, tab ].concat(option));
	});
}

/* The whole of a list is looked at when the form is saved: a widget looks at what is typed only. */
function check_list(option, kind, also) {
	const items = function(section_id) { return L.toArray(option.formvalue(section_id)); };
	const fault = function(section_id) {
		const list = items(section_id);
		return list.length ? list.map(kind.check).filter(Boolean)[0] || kind.many(list) || (also ? also(section_id, list) : '') : '';
	};
	option.isValid = function(section_id) { return fault(section_id) == ''; };
	option.getValidationError = fault;
}

/* An interface is the home's or the Internet's. */
function not_both(section) {
	return function(section_id, list) {
		const home = L.toArray(section.formvalue(section_id, 'lan'));
		const both = list.filter(function(name) { return home.indexOf(name) >= 0; });
		return both.length ? _('%s is in the home already').format(both.join(', ')) : '';
	};
}

function add(section, tab, name, kind, fallback, title, meaning) {
	const option = tab ? section.taboption(tab, form[kind.widget], name, title, meaning) : section.option(form[kind.widget], name, title, meaning);
	option.kind = kind;
	if (kind.widget == 'Flag') {
		option.default = fallback;
		option.rmempty = false;
		return;
	}
	option.validate = function(section_id, value) { return value == null || value === '' ? true : kind.check(String(value)) || true; };
	if (kind.widget == 'ListValue') {
		kind.words.forEach(function(choice) { option.value(choice[0], choice[1]); });
		option.default = fallback;
		return;
	}
	option.placeholder = Array.isArray(fallback) ? fallback.join(', ') : fallback;
	if (kind.many)
		check_list(option, kind, name == 'wan' ? not_both(section) : null);
}

return view.extend({
	render: function() {
		style.use();
		const map = new form.Map('cpe-filter', _('Settings of the mail filter'),
			_('What is left empty has the default that is shown in grey. If your Internet provider sets the filter up, it may undo what is changed here.'));
		map.tabbed = true;

		const main = map.section(form.NamedSection, 'main', 'cpe-filter', _('Service'), _('Whether the filter runs, and how.'));
		fill(main, [
			[ 'enabled', kinds.flag, '1', _('Run the filter'), _('Started at once, and whenever the router starts.') ],
			[ 'policy_file', kinds.file, '', _('Policy file'), _('A policy of the provider (TOML) in place of all that is set on these pages.') ],
			[ 'jail', word([ [ '1', _('Where it can be built') ], [ 'required', _('Always; else do not run') ], [ '0', _('Never') ] ]), '1', _('Jail'), _('Run the filter in a jail (procd-ujail), where there is one.') ]
		]);

		const order = Object.keys(BASIC);
		SECTIONS.slice().sort(function(a, b) { return order.indexOf(a[0]) - order.indexOf(b[0]); }).forEach(function(row) {
			fill(map.section(form.NamedSection, row[0], row[0], row[1], row[2]), row[3]);
		});

		const exempt = map.section(form.TypedSection, 'exempt', _('Fixed exemptions'),
			_('Exemptions that belong to the settings and are not shown with a button to remove them. What you add under Exemptions is kept apart.'));
		exempt.anonymous = true;
		exempt.addremove = true;
		exempt.addbtntitle = _('Add a fixed exemption');
		add(exempt, null, 'device', allowed.exempt.device, '', _('Device'), _('Its hardware address (MAC). Left empty: any device.'));
		add(exempt, null, 'destination', allowed.exempt.destination, '', _('Destination'), _('A mail server\'s address or network. Left empty: any. Device and destination cannot both be any.'));
		add(exempt, null, 'until', allowed.exempt.until, '', _('Until'), _('The last day, such as 2027-01-31. Left empty: for ever.'));
		add(exempt, null, 'reason', allowed.exempt.reason, '', _('Reason'), _('One line, for the log.'));
		return map.render();
	}
});
