'use strict';
'require baseclass';
'require rpc';
'require ui';

/*
 * The filter, as the ubus object `cpe-filter` (rpcd) gives it, and the dialogues that tell it something. Knows names of
 * methods and what their answers look like. Must not know pages.
 *
 * What comes from the network (names of devices, reasons, servers' words) is put on a page as a text node and in no other
 * way: E() and its kin take a lone string for HTML, so texts stand in lists here, also where one stands alone.
 */

function declare(method, params) {
	return rpc.declare({ object: 'cpe-filter', method: method, params: params, expect: { '': {} }, reject: true });
}

const call = {
	status: declare('status'),
	documents: declare('documents'),
	exempt_list: declare('exempt_list'),
	reported: declare('reported'),
	exempt_add: declare('exempt_add', [ 'device', 'destination', 'for', 'reason' ]),
	exempt_remove: declare('exempt_remove', [ 'id' ]),
	release: declare('release', [ 'device', 'reason' ])
};

/* An answer, also where there was none: {"error"} then. */
function asked(method, ...args) {
	return call[method](...args).catch(function(error) {
		return { error: error.message || String(error) };
	});
}

/* A text of several lines as lines of a page. */
function lines(text) {
	return String(text).split('\n').filter(function(line) {
		return line != '';
	}).map(function(line) {
		return E('div', {}, [ line ]);
	});
}

/* Says what came of a request. A screen reader says it, too. */
function tell(answer, done) {
	const bad = answer.error != null;
	const words = bad ? [ E('strong', {}, [ _('That was not done.') ]) ].concat(lines(answer.error))
		: lines(done || answer.text || '').concat(lines(answer.note || ''));
	ui.addNotification(null, E('div', { 'role': bad ? 'alert' : 'status' }, words), bad ? 'danger' : 'info');
	return !bad;
}

/*
 * Asks before something is done: a dialogue with a reason to fill in, where `reason` is its label. Resolves when it is
 * over. The focus goes into it, and back to where it was.
 */
function confirm(title, children, button, reason, act) {
	const before = document.activeElement;
	const field = reason ? E('input', { 'id': 'cpe-filter-reason', 'type': 'text', 'class': 'cbi-input-text',
		'maxlength': 200, 'autocomplete': 'off', 'style': 'width:100%;max-width:30em' }) : null;

	return new Promise(function(resolve) {
		function end() {
			ui.hideModal();
			if (before && before.isConnected)
				before.focus();
			resolve();
		}

		function go() {
			return act(field ? field.value : '').then(function(answer) {
				tell(answer);
				end();
			});
		}

		const go_on = E('button', { 'class': 'btn cbi-button cbi-button-positive important',
			'click': ui.createHandlerFn(this, go) }, [ button ]);
		const dialogue = ui.showModal(E('span', { 'id': 'cpe-filter-dialogue' }, [ title ]), children.concat([
			field ? E('p', {}, [ E('label', { 'for': 'cpe-filter-reason', 'style': 'display:block' }, [ reason ]), field ]) : '',
			E('div', { 'class': 'right button-row' }, [
				E('button', { 'class': 'btn cbi-button', 'click': end }, [ _('Cancel') ]), ' ', go_on
			])
		]));

		dialogue.setAttribute('role', 'dialog');
		dialogue.setAttribute('aria-modal', 'true');
		dialogue.setAttribute('aria-labelledby', 'cpe-filter-dialogue');
		dialogue.addEventListener('keydown', function(event) {
			if (event.key == 'Escape')
				end();
		});
		(field || go_on).focus();
	});
}

return baseclass.extend({
	asked: asked,
	tell: tell,
	confirm: confirm,

	/* Whether this session may only look. */
	readonly: function() {
		return L.hasViewPermission() === false;
	},

	/* "This is my mail server", with one click: it may send to any server, for ever. It can be taken back under Exemptions. */
	exempt: function(mac) {
		return asked('exempt_add', mac, '', '', _('Our own mail server')).then(tell);
	},

	/* "This device has been cleaned." */
	release: function(device, called) {
		return confirm(_('Has this device been cleaned?'), [
			E('p', {}, [ E('strong', {}, [ called ]) ]),
			E('p', {}, [ _('Say so when you have updated it, removed the app that did it, or reset it to factory settings.') ]),
			E('p', {}, [ _('It then counts as clean. If it goes on sending spam, it is blocked again, sooner than the first time.') ])
		], _('Yes, I have cleaned it'), _('What did you do? (may be left empty)'), function(reason) {
			return asked('release', device, reason);
		});
	}
});
