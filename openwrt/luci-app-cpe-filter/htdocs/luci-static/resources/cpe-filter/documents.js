'use strict';
'require baseclass';
'require cpe-filter.words as words';

/*
 * The words for the Internet provider's signed documents, and for the router's certificate: what is in force, and what
 * became of the last one. Knows the answer of the ubus method `documents` (docs/provisioning.md has its fields). Must not
 * know the layout of a page. Everything is plain text.
 */

const TYPES = { policy: _('Settings'), table: _('Detection rates'), replies: _('Wordings of refusals') };

/* Why a document was taken back: what worked before it and not any more; or why it was refused. By the codes. */
const FORGED = _('Nobody whom this router trusts has signed it as it is.'), UNREADABLE = _('It cannot be read or used.');
const DATES = _('Its dates do not fit the time of this router.');
const REASONS = {
	filter: _('The filter had stopped.'),
	rules: _('The rules of the filter were missing.'),
	dns: _('Names could not be looked up any more.'),
	relay: _('The mail relay could not be reached any more.'),
	collector: _('The collector could not be reached any more.'),
	mail: _('Mail was refused that had passed before.'),
	reload: _('The filter did not accept it.'),
	restart: _('The router restarted while it was tried.'),
	time: _('It was not clear in time whether all works.'),
	full: _('The flash memory cannot be written.'),
	key: FORGED, revoked: FORGED, purpose: FORGED, signature: FORGED,
	agent: _('It needs a later version of the filter.'),
	audience: _('It is for other routers.'),
	early: DATES, expired: DATES,
	sequence: _('It is older than one that was in force.'),
	large: UNREADABLE, format: UNREADABLE, toml: UNREADABLE, header: UNREADABLE, type: UNREADABLE, content: UNREADABLE
};

function list(value) {
	return Array.isArray(value) ? value : [];
}

function became(outcome) {
	const number = outcome.sequence == null ? '?' : String(outcome.sequence);
	const said = {
		applied: _('Number %s was tried, and is in force.'),
		refused: outcome.sequence == null ? _('A document was refused, and nothing has changed.') : _('Number %s was refused, and nothing has changed.'),
		'taken-back': _('Number %s was tried and taken back.'),
		'rolled-back': _('Number %s was taken out of force by a person.')
	}[outcome.result];
	return said ? [ said.format(number), REASONS[outcome.why] || '' ].filter(Boolean).join(' ') : '';
}

return baseclass.extend({
	/* The head of the rows. */
	titles: [ _('Document'), _('Number'), _('In force since'), _('Expires'), _('What became of the last one') ],

	/* One for each document that is in force or tried, or that something has become of. */
	rows: function(answer) {
		const status = L.isObject(answer.status) ? answer.status : {};
		return list(status.documents).map(function(one) {
			const good = L.isObject(one.in_force) ? one.in_force : null;
			const last = list(status.outcomes).filter(function(outcome) { return outcome.type == one.type; }).pop();
			const said = L.isObject(one.tried_now) ? _('Number %s is being tried.').format(one.tried_now.sequence == null ? '?' : one.tried_now.sequence)
				: good && good.problem ? _('It cannot be used by this version of the filter, and does not count.') : last ? became(last) : '';
			return !good && !said ? null : [
				TYPES[one.type] || String(one.type), good && good.sequence != null ? String(good.sequence) : '–', good ? words.time(one.since) : '–',
				good ? words.time(good.expires) : '–', said || '–'
			];
		}).filter(Boolean);
	},

	/* Sentences beside them: what became of the very last document, where its type is not known; and the service's looks. */
	lines: function(answer) {
		const status = L.isObject(answer.status) ? answer.status : {};
		const said = list(status.outcomes).slice(-1).filter(function(outcome) { return outcome.type == null; }).map(became);
		const fetch = L.isObject(answer.fetch) ? answer.fetch : null, enrol = L.isObject(answer.enrol) ? answer.enrol : null;
		if (fetch)
			said.push(fetch.code == 1 ? _('Looked for documents %s, and could not get all: %s').format(words.time(fetch.at), fetch.text)
				: _('Last looked for documents %s.').format(words.time(fetch.at)));
		if (enrol)
			said.push(enrol.code ? _('No certificate was issued %s: %s').format(words.time(enrol.at), enrol.text)
				: _('The certificate of this router is in order, as of %s.').format(words.time(enrol.at)));
		return said.filter(Boolean);
	}
});
