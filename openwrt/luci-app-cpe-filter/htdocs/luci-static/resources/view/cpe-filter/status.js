'use strict';
'require view';
'require poll';
'require dom';
'require cpe-filter.filter as filter';
'require cpe-filter.words as words';
'require cpe-filter.chart as chart';
'require cpe-filter.documents as documents';
'require cpe-filter.style as style';

/*
 * What the filter sees: what has to be done, each device with evidence against it, the others, and its counters. All of it
 * is from one answer of `status`, which is requested at each of LuCI's polls. A part of the page is rebuilt only when its
 * content has changed, so that a counter does not take away the focus or fold a list.
 */

const WORST_FIRST = [ 'compromised', 'unusual', 'suspected', 'clear' ];

/* A number in the reader's own language. */
function number(value) {
	return value.toLocaleString(document.documentElement.lang || undefined);
}

/* What is counted, as [words, number or text] of a status. */
function counters(status) {
	const kernel = function(name) {
		return L.isObject(status.kernel) && Array.isArray(status.kernel[name]) ? status.kernel[name][0] : 0;
	};
	/* Beyond the rate guard, or lost because the filter was busy. */
	const missed = kernel('unobserved') + (status.lost || 0), last = Math.max(status.unobserved_at || 0, status.lost_at || 0);
	const unobserved = missed && last ? _('%s, last %s').format(number(missed), words.time(last)) : missed;
	return [
		[ _('Connections followed'), status.flows ],
		[ _('Packets of mail looked at'), status.mail_packets ],
		[ _('Connections refused'), Object.values(status.refusals || {}).reduce(function(sum, count) { return sum + count; }, 0) ],
		[ _('Packets refused by the kernel'), kernel('refused') + kernel('blocked') + kernel('limited') ],
		[ _('Packets dropped by the kernel'), kernel('undecided') + kernel('flooded') ],
		[ _('Told why by the responder'), kernel('explained') ],
		[ _('Packets that waited for the filter'), kernel('queued') ],
		[ _('Connections to known servers'), kernel('known') ],
		[ _('Packets not observed'), unobserved ],
		[ _('Exemptions in force'), status.exempt_count ],
		[ _('Failures'), status.failures ],
		[ _('Running for'), words.duration(status.updated - status.since) ]
	].map(function(row) {
		return [ row[0], row[1] == null ? '–' : typeof(row[1]) == 'number' ? number(row[1]) : row[1] ];
	});
}

/* By which other interfaces mail can leave: a sentence for each. A VPN or a second uplink may be intended. */
function ways(status) {
	return (Array.isArray(status.unwatched) ? status.unwatched : []).map(function(way) {
		const families = way.families.map(function(family) { return 'IPv' + family; }).join(', ');
		const how = way.last != null ? _('Connections of mail that left there: %d, the last %s.').format(way.connections, words.time(way.last))
			: way.default_route.length ? _('A default route leads there.') : _('A default route of lower priority leads there.');
		return (way.last != null || way.default_route.length ? _('%s leaves by %s, which is not watched.')
			: _('%s can leave by %s, which is not watched.')).format(families, way.interface) + ' ' + how;
	});
}

/* Networks of the home that [network] lan does not have, and whose mail leaves by a watched interface. */
function networks(status) {
	return (Array.isArray(status.unlisted) ? status.unlisted : []).map(function(network) {
		return _('%s mail of %s is not watched.').format(network.families.map(function(family) { return 'IPv' + family; }).join(', '), network.interface) +
			' ' + _('Connections of mail from there: %d, the last %s.').format(network.connections, words.time(network.last));
	});
}

/* Devices that log in at many servers that take mail from their own users: counted, never blocked. */
function submitters(status) {
	return (Array.isArray(status.submission) ? status.submission : []).filter(function(one) { return one.many; }).map(function(one) {
		return _('%s: %d servers since %s; of %d connections %d failed.').format(
			words.short(one), one.servers, words.time(one.since), one.connections, one.failures);
	});
}

function list(kind, sentences) {
	return E(kind, {}, sentences.map(function(sentence) {
		return E('li', {}, [ sentence ]);
	}));
}

/* A place on the page that is filled again only when `key` has changed. */
function place(tag, attributes) {
	const root = E(tag, attributes || {});
	let last = null;
	return {
		root: root,
		put: function(key, build) {
			if (key === last)
				return;
			last = key;
			dom.content(root, build());
		}
	};
}

/* Its quarantine, '' if it has not been in one since it was convicted. */
function quarantined(one) {
	if (one.quarantine == 'held')
		return _('In quarantine since %s, until %s; people can release it %d more times.').format(
			words.time(one.quarantined_at), words.time(one.quarantine_ends_at), one.releases);
	return one.quarantine ? _('Released from quarantine %s.').format(words.time(one.quarantine_ended_at)) : '';
}

/* What has become of the notice that is in the way of a compromised device. */
function noticed(device, status) {
	const notice = status.notice && Array.isArray(status.notice.devices) ? status.notice.devices : [];
	return notice.filter(function(one) { return one.device == device.device; }).map(function(one) {
		const shown = one.shown_at ? _('The notice was opened on it %d times, last %s.').format(one.times_shown, words.time(one.shown_at)) : _('The notice has not been opened on it.');
		const answers = {
			seen: _('Answer: I have seen this.'), cleaned: _('Answer: I have cleaned this device.'),
			server: _('Answer: This is my mail server.'), mistake: _('Answer: This is a mistake.')
		};
		return [ shown, answers[one.answer] || _('It has not been answered.'), quarantined(one) ].filter(Boolean).join(' ');
	});
}

const ANSWERS = {
	seen: _('I have seen this'), cleaned: _('I have cleaned this device'), server: _('This is my mail server'), mistake: _('This is a mistake')
};

/* To whom the notice was shown, and when: [lines above, rows]. */
function showings(status) {
	const notice = L.isObject(status.notice) ? status.notice : null;
	if (!notice || !Array.isArray(notice.devices))
		return [ [], [] ];
	const others = L.isObject(notice.counts) ? notice.counts.shown_to_others : 0;
	const lines = notice.served === false && notice.devices.length ? [ _('Nobody serves the notice at the moment, so no device is led to it.') ] : [];
	if (others)
		lines.push(_('Opened on other devices of the home: %d times.').format(others));
	return [ lines, notice.devices.map(function(one) {
		const known = status.devices.filter(function(device) { return device.device == one.device; })[0] || { device: one.device };
		return [
			one.device ? words.short(known) : '–', one.led_at ? words.time(one.led_at) : '–', number(one.times_shown || 0),
			one.shown_at ? words.time(one.shown_at) : '–', ANSWERS[one.answer] || '–', one.answered_at ? words.time(one.answered_at) : '–'
		];
	}) ];
}

function table(titles, rows) {
	return E('div', { 'class': 'cpe-wide' }, [ E('table', { 'class': 'table' }, [
		E('tr', { 'class': 'tr table-titles' }, titles.map(function(title) { return E('th', { 'class': 'th', 'scope': 'col' }, [ title ]); }))
	].concat(rows.map(function(row) {
		return E('tr', { 'class': 'tr' }, row.map(function(cell, at) { return E('td', { 'class': 'td', 'data-title': titles[at] }, [ cell ]); }));
	}))) ]);
}

/* A device that is compromised, or that looks like a mail server. `update` takes it from a newer status. */
function card(device, mode) {
	const standing = words.standing(device), mac = words.mac(device.device);
	const counts = place('p'), plot = place('div'), why = place('div');
	const since = words.since(device), steps = words.steps(device, mode);
	const title = 'cpe-device-' + String(device.device).replace(/[^0-9a-z]/gi, '-');

	const buttons = [];
	if (!filter.readonly()) {
		if (device.standing == 'compromised')
			buttons.push(E('button', { 'class': 'btn cbi-button cbi-button-action important', 'click': function() {
				filter.release(device.device, words.short(device));
			} }, [ _('I have cleaned this device') ]));
		if (mac && device.standing == 'unusual')
			buttons.push(E('button', { 'class': 'btn cbi-button cbi-button-action important', 'click': function(event) {
				const button = event.target;
				button.disabled = true;
				filter.exempt(mac).finally(function() { button.disabled = false; });
			} }, [ _('This is my mail server') ]));
		else if (mac)
			buttons.push(E('a', { 'class': 'btn cbi-button', 'href': L.url('admin/services/cpe-filter/exemptions') + '?device=' + encodeURIComponent(mac) },
				[ _('This is my mail server') ]));
	}

	const root = E('section', { 'class': 'cpe-device ' + device.standing, 'aria-labelledby': title }, [
		E('h3', { 'id': title }, [ words.called(device) ]),
		E('div', { 'class': 'cpe-marks' }, words.marks(device).map(function(mark) { return E('div', {}, [ mark ]); })),
		E('p', {}, [
			E('span', { 'class': 'cpe-standing' }, [ standing.label ]), ' ',
			standing.action ? E('strong', {}, [ _('Action required') ]) : '',
			since == null ? '' : E('div', {}, [ _('since %s').format(words.time(since)) ])
		]),
		E('p', {}, [ standing.means ]),
		E('dl', { 'class': 'cpe-facts' }, [ words.mode(device), words.works() ].map(function(fact) {
			return E('div', {}, [ E('dt', {}, [ fact[0] ]), E('dd', {}, [ fact[1] ]) ]);
		})),
		counts.root
	].concat(steps.length ? [ E('h4', {}, [ _('What to do') ]), list(steps.length > 1 ? 'ol' : 'ul', steps) ] : [], [
		E('div', { 'class': 'cpe-buttons' }, buttons),
		device.standing == 'unusual' ? '' : E('details', { 'open': '' }, [ E('summary', {}, [ _('What was noticed') ]), plot.root, why.root ])
	]));

	return {
		root: root,
		update: function(device, status) {
			const text = _('First seen %s, last seen %s. Connections: %d, of them refused: %d. Messages: %d, to %d recipients.').format(
				words.time(device.first_seen), words.time(device.last_seen), device.connections, device.refused, device.messages, device.recipients);
			const notice = noticed(device, status);
			counts.put([ text ].concat(notice).join('\n'), function() {
				return [ text ].concat(notice.map(function(line) { return E('div', {}, [ line ]); }));
			});
			const against = words.signs(device, true), mild = words.signs(device, false);
			why.put(against.concat('', mild).join('\n'), function() {
				return [ list('ul', against) ].concat(mild.length ? [ E('p', {}, [ _('In its favour:') ]), list('ul', mild) ] : []);
			});
			plot.put(String(status.updated), function() { return [ chart.draw(device, status.updated) ]; });
		}
	};
}

/* What cards stay as they are for. */
function identity(device) {
	return JSON.stringify([ device.device, device.name, device.standing, device.mode, device.addresses, device.class, words.since(device) ]);
}

function others(devices) {
	if (!devices.length)
		return [];
	return [
		E('h3', {}, [ _('Other devices that have sent mail') ]),
		table([ _('Device'), _('Messages'), _('Connections'), _('Last seen') ], devices.map(function(device) {
			return [ words.short(device), number(device.messages), number(device.connections), words.time(device.last_seen) ];
		}))
	];
}

/* The first thing to read: whether anything has to be done. As [class, lines]. */
function summary(answer, devices) {
	if (answer.error)
		return [ 'danger', [ _('The filter cannot be asked.'), answer.error ] ];
	if (!answer.running)
		return [ 'danger', [ _('The filter is not running, so mail is not watched.'), answer.why || '' ] ];
	if (!L.isObject(answer.status))
		return [ 'warning', [ answer.why || '' ] ];
	const bad = devices.filter(function(device) { return words.standing(device).action; });
	if (bad.length)
		return [ 'danger', [ _('Action required'), _('Most likely infected: %s').format(bad.map(words.short, words).join(', ')) ] ];
	const asked = devices.filter(function(device) { return device.standing == 'unusual'; });
	if (asked.length)
		return [ 'notice', [ _('Is this your mail server?'), asked.map(words.short, words).join(', ') ] ];
	return [ 'success', [ _('No action required'), devices.length ? _('No device in your home is known to send spam.')
		: _('No device has sent mail straight to a mail server so far.') ] ];
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load: function() {
		return filter.asked('status');
	},

	render: function(answer) {
		style.use();
		const first = place('div', { 'role': 'status' }), wrong = place('div', { 'role': 'alert' }), notes = place('div'), all = place('div'), elsewhere = place('div'), unlisted = place('div'), submission = place('div');
		const suspects = E('div'), told = place('div'), rest = place('div'), signed = place('div'), figures = place('div'), age = place('p');
		let cards = {};

		const show = function(answer) {
			const status = L.isObject(answer.status) && Array.isArray(answer.status.devices) ? answer.status : null;
			const devices = (status ? status.devices : []).slice().sort(function(a, b) {
				return WORST_FIRST.indexOf(a.standing) - WORST_FIRST.indexOf(b.standing) || b.score - a.score;
			});
			const said = summary(answer, devices);
			first.put(JSON.stringify(said), function() {
				return [ E('div', { 'class': 'alert-message ' + said[0] }, [
					E('h4', {}, [ said[1][0] ]), E('div', { 'class': 'cpe-any' }, [ said[1][1] || '' ])
				]) ];
			});
			const error = answer.config_error || (status && status.policy && status.policy.refused) || '';
			wrong.put(error, function() {
				return error ? [ E('div', { 'class': 'alert-message warning' }, [
					E('h4', {}, [ _('The settings have an error; the last good ones are in force.') ]), E('div', { 'class': 'cpe-any' }, [ error ])
				]) ] : [];
			});
			const unwatched = status ? ways(status) : [];
			elsewhere.put(unwatched.join('\n'), function() {
				return unwatched.length ? [ E('div', { 'class': 'alert-message notice' }, [
					E('h4', {}, [ _('Mail can leave without being watched') ]), list('ul', unwatched),
					E('p', {}, [ _('If this is intended, nothing has to be done. To filter this mail, too, add the network under Settings, Networks of the Internet.') ])
				]) ] : [];
			});
			const missing = status ? networks(status) : [];
			unlisted.put(missing.join('\n'), function() {
				return missing.length ? [ E('div', { 'class': 'alert-message notice' }, [
					E('h4', {}, [ _('Mail of a network is not watched') ]), list('ul', missing),
					E('p', {}, [ _('If this is intended, nothing has to be done. To filter this mail, too, add the network under Settings, Networks of the home.') ])
				]) ] : [];
			});
			const many = status ? submitters(status) : [];
			submission.put(many.join('\n'), function() {
				return many.length ? [ E('div', { 'class': 'alert-message notice' }, [
					E('h4', {}, [ _('A device logs in at many mail services') ]), list('ul', many),
					E('p', {}, [ _('Nothing is blocked. If you do not know why it does so, check this device: a program on it may try stolen passwords.') ])
				]) ] : [];
			});
			const noted = typeof(answer.notes) == 'string' ? answer.notes : '';
			notes.put(noted, function() {
				return noted ? [ E('div', { 'class': 'alert-message notice' }, noted.split('\n').map(function(line) {
					return E('div', { 'class': 'cpe-any' }, [ line ]);
				})) ] : [];
			});
			if (status)
				chart.add(status);
			all.put(status && status.mode == 'block' ? 'block' : '', function() {
				return status && status.mode == 'block' ? [ E('p', {}, [ _('No device on this connection may send mail straight to other mail servers (port 25), unless you allow it. E-mail through your mail service is not affected.') ]) ] : [];
			});

			const now = {};
			devices.filter(function(device) { return device.standing == 'compromised' || device.standing == 'unusual'; }).forEach(function(device) {
				const key = identity(device) + status.mode;
				now[key] = cards[key] || card(device, status.mode);
				now[key].update(device, status);
			});
			if (Object.keys(now).join() != Object.keys(cards).join())
				dom.content(suspects, Object.values(now).map(function(one) { return one.root; }));
			cards = now;

			const shown = status ? showings(status) : [ [], [] ];
			told.put(JSON.stringify(shown), function() {
				return shown[0].length || shown[1].length ? [ E('h3', {}, [ _('Notices shown') ]) ].concat(
					shown[0].map(function(line) { return E('p', {}, [ line ]); }),
					shown[1].length ? [ table([ _('Device'), _('First led to it'), _('Times opened'), _('Last opened'), _('Answer'), _('Answered') ], shown[1]) ] : []
				) : [];
			});
			const clear = devices.filter(words.ordinary, words);
			rest.put(JSON.stringify(clear.map(function(device) {
				return [ words.short(device), device.messages, device.connections, device.last_seen ];
			})), function() { return others(clear); });
			const counted = status ? counters(status) : [];
			figures.put(JSON.stringify(counted), function() {
				return counted.length ? [ E('h3', {}, [ _('Counters') ]), E('dl', { 'class': 'cpe-counts' }, counted.map(function(row) {
					return E('div', {}, [ E('dt', {}, [ row[0] ]), E('dd', {}, [ row[1] ]) ]);
				})) ] : [];
			});
			age.put(status ? String(status.updated) : '', function() {
				return status ? [ _('As of %s.').format(words.time(status.updated)) ] : [];
			});
		};

		show(answer);
		poll.add(function() {
			return filter.asked('status').then(show);
		});
		/* Once, and behind the rest, because it starts Python. */
		filter.asked('documents').then(function(answer) {
			const rows = documents.rows(answer), lines = documents.lines(answer);
			signed.put('', function() {
				return rows.length || lines.length ? [ E('h3', {}, [ _('Signed documents') ]) ].concat(
					rows.length ? [ table(documents.titles, rows) ] : [],
					lines.length ? [ E('div', { 'class': 'cpe-any' }, [ list('ul', lines) ]) ] : []
				) : [];
			});
		});
		return E('div', {}, [
			E('h2', {}, [ _('Mail filter') ]),
			E('p', {}, [ _('Programs that send spam from your home are found here and stopped, without touching anybody else\'s mail. No message is read or kept.') ]),
			first.root, wrong.root, notes.root, elsewhere.root, unlisted.root, submission.root, all.root, suspects, told.root, rest.root, signed.root, figures.root, age.root
		]);
	}
});
