'use strict';
'require baseclass';

/*
 * What the pages look like, beyond the theme's own. Colours are the theme's (bootstrap names them; others fall back), so
 * that light and dark follow it.
 */

const RULES = [
	'.cpe-device { border: 1px solid var(--border-color-medium, #ccc); border-left-width: 5px; border-radius: 3px; padding: .6em 1em; margin: 0 0 1em }',
	'.cpe-device.compromised { border-left-color: var(--error-color-medium, #d00000) }',
	'.cpe-device.unusual { border-left-color: var(--warn-color-high, #b8860b) }',
	'.cpe-device h3 { margin: 0; overflow-wrap: anywhere; line-height: 1.4 }',
	'.cpe-device p, .cpe-device ol, .cpe-device ul { margin: .4em 0 }',
	'.cpe-device ol, .cpe-device ul, .cpe-list { padding-left: 1.6em; margin-left: 0; color: inherit; line-height: 1.45 }',
	'.cpe-device ol li, .cpe-device ul li, .cpe-list li { color: inherit; line-height: 1.45 }',
	'.cpe-device h4 { margin: .7em 0 .2em; line-height: 1.3 }',
	'.cpe-device summary { cursor: pointer; padding: .3em 0 }',
	'.cpe-marks { overflow-wrap: anywhere; color: var(--text-color-high, inherit) }',
	'.cpe-standing { display: inline-block; font-weight: bold; margin-right: .6em }',
	'.cpe-facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(17em, 1fr)); gap: .2em 2em; margin: .5em 0 }',
	'.cpe-facts dt { font-weight: bold; margin: 0 }',
	'.cpe-facts dd { margin: 0 }',
	'.cpe-buttons { display: flex; flex-wrap: wrap; gap: .5em; margin: .8em 0 .3em }',
	'.cpe-buttons .btn, .cpe-form .btn { white-space: normal; height: auto; min-height: 30px; display: inline-flex; align-items: center }',
	'.cpe-counts { display: grid; grid-template-columns: repeat(auto-fill, minmax(11em, 1fr)); gap: .4em 1.5em; margin: .5em 0 1em }',
	'.cpe-counts dt { font-weight: normal; margin: 0 }',
	'.cpe-counts dd { font-size: 1.35em; margin: 0 0 .3em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }',
	'.cpe-chart { margin: .8em 0; max-width: 640px }',
	'.cpe-chart figcaption { font-weight: bold; margin-bottom: .3em }',
	'.cpe-plot { position: relative; height: 110px; border: solid var(--border-color-medium, #999); border-width: 0 0 1px 1px; margin-right: 7em }',
	'.cpe-plot svg { position: absolute; width: 100%; height: 100%; overflow: visible }',
	'.cpe-plot svg * { vector-effect: non-scaling-stroke; fill: none; stroke-width: 2 }',
	'.cpe-plot .level { stroke-dasharray: 2 4; stroke-width: 1.5 }',
	'.cpe-plot .line { stroke: var(--primary-color-high, #1976d2) }',
	'.cpe-plot .guess { stroke: var(--primary-color-high, #1976d2); stroke-dasharray: 6 5 }',
	'.cpe-plot .dot { stroke: var(--primary-color-high, #1976d2); stroke-width: 9; stroke-linecap: round }',
	'.cpe-level { position: absolute; left: 100%; transform: translateY(-50%); padding-left: .5em; white-space: nowrap; font-size: .9em }',
	'.cpe-axis { display: flex; justify-content: space-between; gap: 1em; margin-right: 7em; font-size: .9em }',
	'.cpe-chart small { display: block; margin-top: .3em }',
	'.cpe-form label { display: block; font-weight: bold; margin: .8em 0 .2em; width: auto; text-align: left; float: none; padding: 0 }',
	'.cpe-form select, .cpe-form input { width: 100%; max-width: 30em; box-sizing: border-box }',
	'.cpe-form .cpe-hint { display: block; margin-top: .2em }',
	'.cpe-form p { margin: 1em 0 }',
	'.cpe-wide { overflow-x: auto }',
	'.cpe-wide td, .cpe-wide .td, .cpe-any { overflow-wrap: anywhere }',
	'.cpe-word { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 20em; overflow-y: auto; margin: .3em 0 }'
];

return baseclass.extend({
	/* The style sheet, for the page's head; once. */
	use: function() {
		if (!document.getElementById('cpe-filter-style'))
			document.head.appendChild(E('style', { 'id': 'cpe-filter-style' }, [ RULES.join('\n') ]));
	}
});
