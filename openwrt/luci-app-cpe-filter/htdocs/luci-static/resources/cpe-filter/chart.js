'use strict';
'require baseclass';
'require cpe-filter.words as words';

/*
 * A device's score over time. Knows a device's status, and what this browser has seen of it. The filter keeps no history,
 * so the chart connects the moments that it has noted (first seen, suspected, compromised) by a dashed line, and draws a
 * solid line for the time when one of these pages was open. That part is kept in the browser's session storage, bounded.
 * Must not know pages.
 */

const STORE = 'cpe-filter-scores';
/* Devices, and points of each. Equal scores in a row are two points, so a quiet device takes no room. */
const DEVICES = 32, POINTS = 240;
/* Of the drawing. It is stretched to its place; only lines are in it, texts stand beside it. */
const WIDTH = 600, HEIGHT = 100;

let seen = null;

function load() {
	if (seen)
		return seen;
	seen = {};
	try {
		const kept = JSON.parse(window.sessionStorage.getItem(STORE));
		if (L.isObject(kept))
			for (const device in kept)
				if (Array.isArray(kept[device]))
					seen[device] = kept[device].filter(function(point) {
						return Array.isArray(point) && isFinite(point[0]) && isFinite(point[1]);
					}).slice(-POINTS);
	}
	catch (e) {
		/* None kept, or not ours. */
	}
	return seen;
}

function node(name, attributes, children) {
	const made = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const key in attributes)
		made.setAttribute(key, attributes[key]);
	(children || []).forEach(function(child) {
		made.appendChild(child);
	});
	return made;
}

/* The moments that the filter has noted, as [time, score]. */
function noted(device) {
	const out = [];
	if (device.suspected_at == null || device.first_seen < device.suspected_at.time)
		out.push([ device.first_seen, 0 ]);
	if (device.suspected_at)
		out.push([ device.suspected_at.time, words.SUSPECT_AT ]);
	if (device.compromised_at)
		out.push([ device.compromised_at.time, device.threshold ]);
	return out.filter(function(point) {
		return isFinite(point[0]) && point[0] > 0;
	});
}

return baseclass.extend({
	/* A new status: remembers the scores of its devices. */
	add: function(status) {
		const kept = load();
		const devices = status.devices.filter(function(device) {
			return device.standing != 'clear' || device.score > 0;
		}).slice(0, DEVICES);
		devices.forEach(function(device) {
			const points = kept[device.device] || (kept[device.device] = []);
			const count = points.length, last = points[count - 1];
			if (last && status.updated <= last[0])
				return;
			if (count > 1 && last[1] == device.score && points[count - 2][1] == device.score)
				last[0] = status.updated;
			else
				points.push([ status.updated, device.score ]);
			if (points.length > POINTS)
				points.shift();
		});
		for (const device in kept)
			if (!devices.some(function(one) { return one.device == device; }))
				delete kept[device];
		try {
			window.sessionStorage.setItem(STORE, JSON.stringify(kept));
		}
		catch (e) {
			/* No room, or not allowed: this page still has it. */
		}
	},

	/* The chart of one device. updated: the status' time, POSIX seconds. */
	draw: function(device, updated) {
		const marks = noted(device);
		const points = (load()[device.device] || []).concat([ [ updated, device.score ] ]);
		const times = marks.concat(points).map(function(point) { return point[0]; });
		const from = Math.min.apply(null, times), to = Math.max(updated, from + 60);
		const top = 1.1 * Math.max(device.threshold, device.score, Math.max.apply(null, points.map(function(point) { return point[1]; })));
		const x = function(time) { return (WIDTH * (time - from) / (to - from)).toFixed(1); };
		const y = function(score) { return (HEIGHT * (1 - score / top)).toFixed(1); };
		const path = function(list) {
			return list.map(function(point) { return x(point[0]) + ',' + y(point[1]); }).join(' ');
		};
		const level = function(score, text, colour) {
			return [ node('line', { 'class': 'level', 'x1': 0, 'x2': WIDTH, 'y1': y(score), 'y2': y(score), 'style': 'stroke:' + colour }),
				E('span', { 'class': 'cpe-level', 'style': 'top:%d%%'.format(100 - 100 * score / top) }, [ text ]) ];
		};
		const suspected = level(words.SUSPECT_AT, _('suspected'), 'var(--warn-color-high, #b8860b)');
		const compromised = level(device.threshold, _('compromised'), 'var(--error-color-high, #d00000)');
		const before = marks.filter(function(point) { return point[0] < points[0][0]; }).concat([ points[0] ]);
		const said = _('Score %s now; suspected from %s, compromised from %s. From %s to %s.').format(
			device.score.toFixed(1), words.SUSPECT_AT, device.threshold, words.time(from), words.time(to));

		return E('figure', { 'class': 'cpe-chart' }, [
			E('figcaption', {}, [ _('How much speaks against it') ]),
			E('div', { 'class': 'cpe-plot' }, [
				node('svg', { 'viewBox': '0 0 %d %d'.format(WIDTH, HEIGHT), 'preserveAspectRatio': 'none', 'role': 'img', 'aria-label': said }, [
					suspected[0], compromised[0],
					node('polyline', { 'class': 'guess', 'points': path(before) }),
					node('polyline', { 'class': 'line', 'points': path(points) })
				].concat(marks.concat([ points[points.length - 1] ]).map(function(point) {
					/* A line of no length with round ends: a dot that no stretching makes an ellipse. */
					return node('line', { 'class': 'dot', 'x1': x(point[0]), 'x2': x(point[0]), 'y1': y(point[1]), 'y2': y(point[1]) });
				}))),
				suspected[1], compromised[1]
			]),
			E('div', { 'class': 'cpe-axis', 'aria-hidden': 'true' }, [ E('span', {}, [ words.time(from) ]), E('span', {}, [ words.time(to) ]) ]),
			E('small', {}, [ _('Dots: what the filter has noted. Whole line: seen while this page was open; in between the score is not kept.') ])
		]);
	}
});
