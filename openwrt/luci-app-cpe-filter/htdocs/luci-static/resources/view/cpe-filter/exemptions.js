'use strict';
'require view';
'require dom';
'require cpe-filter.filter as filter';
'require cpe-filter.words as words';
'require cpe-filter.style as style';

/*
 * "This is my mail server": which devices may send straight to which servers, until when and why. Knows the filter's
 * exemptions and its devices. What is allowed the filter says.
 */

const LASTS = [ [ '1d', _('One day') ], [ '7d', _('One week') ], [ '30d', _('30 days') ], [ '365d', _('One year') ], [ '', _('For ever') ] ];
const OTHER = 'other', ANY = 'any';

/* The devices to choose from, as [MAC, words]. One that hides others behind it stands for them. */
function choices(status) {
	const found = {};
	(L.isObject(status) && Array.isArray(status.devices) ? status.devices : []).forEach(function(device) {
		const mac = words.mac(device.device);
		if (mac && (!found.hasOwnProperty(mac) || device.device == mac))
			found[mac] = words.short(device);
	});
	return Object.entries(found).sort(function(a, b) {
		return a[1] < b[1] ? -1 : 1;
	});
}

function field(id, label, input, hint) {
	input.setAttribute('id', id);
	if (hint)
		input.setAttribute('aria-describedby', id + '-hint');
	return E('div', { 'id': id + '-row' }, [
		E('label', { 'for': id }, [ label ]), input, hint ? E('small', { 'class': 'cpe-hint', 'id': id + '-hint' }, [ hint ]) : ''
	]);
}

function text(attributes) {
	return E('input', Object.assign({ 'type': 'text', 'class': 'cbi-input-text', 'autocomplete': 'off' }, attributes));
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load: function() {
		return Promise.all([ filter.asked('status'), filter.asked('exempt_list') ]);
	},

	/* What devices are called, for the list. */
	named: function(mac) {
		if (mac == ANY)
			return _('Any device');
		const known = this.devices.filter(function(choice) { return choice[0] == mac; })[0];
		return known ? known[1].replace(/ \(…[^()]*\)$/, '') + ' (' + mac + ')' : mac;
	},

	row: function(one) {
		const fixed = !/^[0-9]+$/.test(one.id);
		const until = one.until == null ? _('For ever') : words.time(one.until);
		const cells = [
			[ _('Device'), [ this.named(one.device) ] ],
			[ _('Destination'), [ one.destination == ANY ? _('Any mail server') : one.destination ] ],
			[ _('Until'), [ one.in_force ? until : _('%s (over)').format(until) ] ],
			[ _('Reason'), [ one.reason || '–' ] ],
			[ _('Remove'), [ fixed ? _('By your provider or in the settings; not to be removed here.')
				: filter.readonly() ? '–' : E('button', { 'class': 'btn cbi-button cbi-button-remove',
					'aria-label': _('Remove the exemption of %s').format(this.named(one.device)),
					'click': this.remove.bind(this, one) }, [ _('Remove') ]) ] ]
		];
		return E('tr', { 'class': 'tr', 'data-exemption': one.id }, cells.map(function(cell) {
			return E('td', { 'class': 'td', 'data-title': cell[0] }, cell[1]);
		}));
	},

	list: function(answer) {
		const items = Array.isArray(answer.items) ? answer.items : [];
		const titles = [ _('Device'), _('Destination'), _('Until'), _('Reason'), '' ];
		dom.content(this.table, [
			answer.error ? E('div', { 'class': 'alert-message danger' }, [ answer.error ]) : '',
			answer.note ? E('div', { 'class': 'alert-message warning' }, [ answer.note ]) : '',
			items.length ? E('table', { 'class': 'table' }, [
				E('tr', { 'class': 'tr table-titles' }, titles.map(function(title) {
					return title ? E('th', { 'class': 'th', 'scope': 'col' }, [ title ]) : E('td', { 'class': 'th' }, []);
				}))
			].concat(items.map(this.row, this))) : E('p', {}, [ E('em', {}, [ _('There are no exemptions.') ]) ])
		]);
	},

	refresh: function() {
		return filter.asked('exempt_list').then(this.list.bind(this));
	},

	add: function() {
		const chosen = this.device.value, other = this.other.value.trim();
		return filter.asked('exempt_add', chosen == OTHER ? other : chosen, this.destination.value.trim(), this.lasts.value, this.reason.value.trim())
			.then(function(answer) {
				if (filter.tell(answer))
					this.destination.value = this.reason.value = this.other.value = '';
				return this.refresh();
			}.bind(this));
	},

	remove: function(one) {
		return filter.confirm(_('Remove this exemption?'), [
			E('p', {}, [ E('strong', {}, [ this.named(one.device) ]), ': ', one.reason || '–' ]),
			E('p', {}, [ _('From then on its mail is treated like that of any other device.') ])
		], _('Remove'), null, function() {
			return filter.asked('exempt_remove', one.id);
		}).then(this.refresh.bind(this));
	},

	/* The other device's field is there only when it is wanted. */
	toggle: function() {
		document.getElementById('cpe-other-row').style.display = this.device.value == OTHER ? '' : 'none';
	},

	form: function(wanted) {
		const given = this.devices.concat(wanted && !this.devices.some(function(one) { return one[0] == wanted; }) ? [ [ wanted, wanted ] ] : []);
		this.device = E('select', { 'class': 'cbi-input-select', 'change': this.toggle.bind(this) }, given.concat(
			[ [ OTHER, _('Another device…') ], [ ANY, _('Any device (name a destination)') ] ]).map(function(choice) {
			return E('option', { 'value': choice[0], 'selected': choice[0] == wanted ? '' : null }, [ choice[1] ]);
		}));
		this.other = text({ 'placeholder': '02:00:00:12:34:56', 'maxlength': 17 });
		this.destination = text({ 'placeholder': '192.0.2.25', 'maxlength': 64 });
		this.lasts = E('select', { 'class': 'cbi-input-select' }, LASTS.map(function(choice) {
			return E('option', { 'value': choice[0], 'selected': choice[0] == '30d' ? '' : null }, [ choice[1] ]);
		}));
		this.reason = text({ 'maxlength': 200, 'required': '' });
		const other = field('cpe-other', _('Its hardware address (MAC)'), this.other);
		other.style.display = this.devices.length || wanted ? 'none' : '';
		return E('form', { 'class': 'cpe-form', 'submit': function(event) {
			event.preventDefault();
			const button = event.target.querySelector('button');
			button.disabled = true;
			this.add().finally(function() { button.disabled = false; });
		}.bind(this) }, [
			field('cpe-device', _('Device'), this.device),
			other,
			field('cpe-destination', _('To which mail server'), this.destination, _('Its address or network, such as 192.0.2.25 or 2001:db8::/48. Left empty: to any.')),
			field('cpe-lasts', _('How long'), this.lasts),
			field('cpe-reason', _('Why'), this.reason, _('A few words for whoever looks here later, such as: our own mail server.')),
			E('p', {}, [ E('button', { 'type': 'submit', 'class': 'btn cbi-button cbi-button-add important' }, [ _('Add exemption') ]) ])
		]);
	},

	render: function(data) {
		style.use();
		const wanted = words.mac(new URLSearchParams(window.location.search).get('device'));
		this.devices = choices(data[0].status);
		this.table = E('div', { 'class': 'cpe-wide' });
		this.list(data[1]);
		return E('div', {}, [
			E('h2', {}, [ _('Exemptions') ]),
			E('p', {}, [ _('A mail server of your own sends mail straight to other mail servers, and so do some cameras and alarm systems. Name such a device here and its mail passes. It stays watched.') ]),
			filter.readonly() ? '' : E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('This is my mail server') ]), this.form(wanted) ]),
			E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('What is exempt') ]), this.table ])
		]);
	}
});
