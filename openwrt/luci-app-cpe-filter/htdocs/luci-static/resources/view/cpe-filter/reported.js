'use strict';
'require view';
'require cpe-filter.filter as filter';
'require cpe-filter.words as words';
'require cpe-filter.style as style';

/*
 * What was and will be reported to the Internet provider, word for word and in words. Knows the object of
 * `cpe-filter report show --json` and the events of the wire format.
 */

const KINDS = {
	opened: _('A device looks like a mail server'),
	raised: _('A device is compromised'),
	updated: _('It goes on'),
	closed: _('It is over'),
	heartbeat: _('The filter works')
};

const WHYS = {
	cleared: _('by its conduct'),
	released: _('you said that it was cleaned'),
	expired: _('not seen for long'),
	exempt: _('it is exempt now')
};

function number(value) {
	return isFinite(value) ? Number(value) : 0;
}

/* An event in a sentence. It may be of a version that is not known here. */
function sentence(event, devices) {
	if (!L.isObject(event) || !KINDS.hasOwnProperty(event.kind))
		return _('An event of another version');
	if (event.kind == 'heartbeat')
		return _('%s. Devices: %d, suspected: %d, compromised: %d.').format(KINDS.heartbeat, number(event.devices), number(event.suspected), number(event.compromised));
	const device = devices.hasOwnProperty(event.dev) ? _('%s, called %s there').format(devices[event.dev], event.dev) : String(event.dev);
	const why = WHYS.hasOwnProperty(event.why) ? ' (%s)'.format(WHYS[event.why]) : '';
	return _('%s%s: %s. Connections: %d, messages: %d, recipients: %d, refused: %d.').format(
		KINDS[event.kind], why, device, number(event.conns), number(event.msgs), number(event.rcpts), number(event.refused));
}

function sentences(events, devices) {
	return E('ul', { 'class': 'cpe-list' }, (Array.isArray(events) ? events : []).map(function(event) {
		return E('li', { 'class': 'cpe-any' }, [ sentence(event, devices) ]);
	}));
}

function verbatim(text) {
	return E('details', {}, [ E('summary', {}, [ _('Word for word') ]), E('pre', { 'class': 'cpe-word', 'tabindex': 0 }, [ text ]) ]);
}

function sent(one, devices) {
	const how = one.how == '200' ? _('taken') : _('not taken: %s').format(one.how);
	return E('div', { 'class': 'cbi-section' }, [
		E('h4', {}, [ '%s: %s'.format(words.time(one.at), how) ]),
		sentences(L.isObject(one.report) ? one.report.events : [], devices),
		verbatim(one.text)
	]);
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load: function() {
		return filter.asked('reported');
	},

	render: function(answer) {
		style.use();
		const found = L.isObject(answer.reported) ? answer.reported : null;
		const page = [
			E('h2', {}, [ _('Reported to your Internet provider') ]),
			E('p', {}, [ _('When a device sends spam your provider is told so that it can help. It is told counts and signs, under a made-up name for the device; never addresses, or what is in a message. Here is all of it.') ])
		];
		if (!found)
			return E('div', {}, page.concat([ E('div', { 'class': 'alert-message notice', 'role': 'status' }, [
				E('h4', {}, [ _('There is nothing to show.') ]), E('div', { 'class': 'cpe-any' }, [ answer.error || '' ])
			]) ]));
		const devices = L.isObject(found.devices) ? found.devices : {};
		const waiting = Array.isArray(found.waiting) ? found.waiting : [];
		const sents = Array.isArray(found.sent) ? found.sent : [];
		page.push(E('p', { 'class': 'cpe-any' }, [ found.url ? _('Reports go to %s').format(found.url) : _('Nothing is reported: no address for reports is set.') ]));
		page.push(E('h3', {}, [ _('Waiting to be sent: %d').format(waiting.length) ]));
		if (waiting.length) {
			page.push(sentences(waiting, devices), verbatim(waiting.map(function(event) { return JSON.stringify(event); }).join('\n')));
			if (found.next_in != null)
				page.push(E('p', {}, [ _('Not before %s from now. Failures in a row: %d.').format(words.duration(found.next_in), number(found.failures)) ]));
		}
		if (found.dropped)
			page.push(E('p', {}, [ _('Given up since the router started, for want of room: %d').format(number(found.dropped)) ]));
		page.push(E('h3', {}, [ _('Sent') ]));
		page.push.apply(page, sents.length ? sents.slice().reverse().map(function(one) { return sent(one, devices); })
			: [ E('p', {}, [ E('em', {}, [ _('Nothing has been sent yet.') ]) ]) ]);
		return E('div', {}, page);
	}
});
