/*
 * A thin stub of what LuCI gives its views, for tests: rpc, uci, form, ui, poll, dom, view, by their documented behaviour,
 * and by what the views were seen to do under LuCI itself. Written anew. What could hide a mistake is as in LuCI:
 *
 * - E(), dom.append() and titles take a lone string for HTML; in a list it is text, and null is the word "null";
 * - a title or a description of a form is HTML;
 * - an empty value that may be empty is not validated, and is removed from UCI;
 * - an option that is invalid, or a list whose isValid says so, keeps the whole form from being saved;
 * - a call that failed resolves to what is expected unless `reject` is set.
 */
(function(window, document) {
'use strict';

String.prototype.format = function(...values) {
	let at = 0;
	return this.replace(/%(%|d|s)/g, function(all, kind) {
		if (kind == '%')
			return '%';
		const value = at < values.length ? values[at++] : '';
		return kind == 'd' ? Math.floor(+value || 0).toFixed(0) : value;
	});
};

window._ = function(text) {
	return (window.TR && window.TR[text]) || text;
};

/* ── classes and modules ───────────────────────────────────────────────────────────────────────── */

function extend(members) {
	const Parent = this;
	function Made(...given) {
		if (this.__init__)
			this.__init__(...given);
	}
	Made.prototype = Object.assign(Object.create(Parent.prototype), members);
	Made.extend = extend;
	return Made;
}
function Base() {}
Base.extend = extend;

const modules = { baseclass: Base };
const loading = {};

function load(name) {
	if (modules[name])
		return Promise.resolve(modules[name]);
	if (loading[name])
		return loading[name];
	loading[name] = fetch('/luci-static/resources/' + name.replace(/\./g, '/') + '.js').then(async function(answer) {
		if (!answer.ok)
			throw new Error('no module ' + name);
		const source = await answer.text();
		const names = [], made = [];
		for (const found of source.matchAll(/^'require[ \t]+(\S+?)(?:[ \t]+as[ \t]+([a-zA-Z_]\S*?))?';$/gm)) {
			made.push(await load(found[1]));
			names.push(found[2] || found[1].replace(/[^a-zA-Z0-9]/g, '_'));
		}
		const Class = new Function('window', 'document', 'L', ...names, source + '\n//# sourceURL=' + name)(window, document, L, ...made);
		modules[name] = new Class();
		return modules[name];
	});
	return loading[name];
}

/* ── dom ───────────────────────────────────────────────────────────────────────────────────────── */

const dom = {
	elem: function(thing) {
		return thing != null && typeof(thing) == 'object' && 'nodeType' in thing;
	},

	append: function(node, children) {
		if (Array.isArray(children))
			children.forEach(function(child) {
				node.appendChild(dom.elem(child) ? child : document.createTextNode(`${child}`));
			});
		else if (dom.elem(children))
			node.appendChild(children);
		else if (children != null)
			node.innerHTML = `${children}`;
		return node.lastChild;
	},

	content: function(node, children) {
		while (node.firstChild)
			node.removeChild(node.firstChild);
		return dom.append(node, children);
	}
};

window.E = function(tag, attributes, children) {
	if (Array.isArray(tag)) {
		const many = document.createDocumentFragment();
		dom.append(many, tag);
		return many;
	}
	const node = document.createElement(tag);
	for (const key in attributes || {})
		if (typeof(attributes[key]) == 'function')
			node.addEventListener(key, attributes[key]);
		else if (attributes[key] != null)
			node.setAttribute(key, attributes[key]);
	dom.append(node, children);
	return node;
};

/* ── rpc ───────────────────────────────────────────────────────────────────────────────────────── */

let requests = 0;

const rpc = {
	declare: function(about) {
		return async function(...given) {
			const params = {};
			(about.params || []).forEach(function(name, at) { params[name] = given[at]; });
			const answer = await fetch('/cgi-bin/luci/admin/ubus', {
				method: 'POST',
				body: JSON.stringify({ jsonrpc: '2.0', id: ++requests, method: 'call', params: [ L.env.sessionid, about.object, about.method, params ] })
			});
			const message = await answer.json();
			if (message.error)
				throw new Error('RPC call to %s/%s failed with error %d: %s'.format(about.object, about.method, message.error.code, message.error.message));
			if (about.reject && message.result[0] != 0)
				throw new Error('RPC call to %s/%s failed with ubus code %d'.format(about.object, about.method, message.result[0]));
			let found = message.result.length > 1 ? message.result[1] : message.result[0];
			for (const key in about.expect || {}) {
				if (found != null && key != '')
					found = found[key];
				if (found == null || Object.prototype.toString.call(found) != Object.prototype.toString.call(about.expect[key]))
					found = about.expect[key];
			}
			return found;
		};
	}
};

/* ── uci ───────────────────────────────────────────────────────────────────────────────────────── */

const ask_uci = {};
[ [ 'get', 'config' ], [ 'set', 'config', 'section', 'values' ], [ 'add', 'config', 'type', 'values' ], [ 'delete', 'config', 'section', 'options' ],
	[ 'apply', 'timeout', 'rollback' ], [ 'confirm' ] ].forEach(function(row) {
	ask_uci[row[0]] = rpc.declare({ object: 'uci', method: row[0], params: row.slice(1), reject: true });
});

const uci = {
	values: {}, changed: {}, gone: {}, added: {},

	load: async function(config) {
		if (!this.values[config])
			this.values[config] = (await ask_uci.get(config)).values;
	},
	sections: function(config, type) {
		return Object.values(this.values[config]).filter(function(one) { return one['.type'] == type; }).map(function(one) { return one['.name']; })
			.concat(Object.keys(this.added));
	},
	has: function(config, section) {
		return this.values[config][section] != null || this.added[section] != null;
	},
	get: function(config, section, option) {
		const changed = (this.changed[section] || {})[option];
		if (changed !== undefined)
			return changed;
		return (this.gone[section] || {})[option] ? null : (this.values[config][section] || {})[option];
	},
	set: function(config, section, option, value) {
		(this.changed[section] = this.changed[section] || {})[option] = value;
		delete (this.gone[section] || {})[option];
	},
	unset: function(config, section, option) {
		delete (this.changed[section] || {})[option];
		if ((this.values[config][section] || {})[option] != null)
			(this.gone[section] = this.gone[section] || {})[option] = true;
	},
	add: function(config, type) {
		const name = 'new' + Object.keys(this.added).length;
		this.added[name] = type;
		return name;
	},
	save: async function(config) {
		for (const section in this.gone)
			if (this.gone[section] === true)
				await ask_uci.delete(config, section, null);
			else if (Object.keys(this.gone[section]).length)
				await ask_uci.delete(config, section, Object.keys(this.gone[section]));
		for (const section in this.added)
			await ask_uci.add(config, this.added[section], this.changed[section] || {});
		for (const section in this.changed)
			if (!this.added[section] && Object.keys(this.changed[section]).length)
				await ask_uci.set(config, section, this.changed[section]);
		this.changed = {};
		this.gone = {};
		this.added = {};
		delete this.values[config];
		return this.load(config);
	}
};

/* ── ui and poll ───────────────────────────────────────────────────────────────────────────────── */

const ui = {
	createHandlerFn: function(self, what, ...given) {
		const work = typeof(what) == 'string' ? self[what] : what;
		return function(event) {
			const button = event.currentTarget;
			button.classList.add('spinning');
			button.disabled = true;
			button.blur();
			Promise.resolve(work.apply(self, given.concat(event))).finally(function() {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	},
	addNotification: function(title, children, ...classes) {
		const main = document.getElementById('maincontent');
		const note = E('div', { 'class': 'alert-message fade-in', 'style': 'display:flex' }, [
			E('div', { 'style': 'flex:10' }),
			E('div', {}, [ E('button', { 'class': 'btn', 'click': function() { note.remove(); } }, [ _('Dismiss') ]) ])
		]);
		if (title != null)
			dom.append(note.firstElementChild, E('h4', {}, title));
		dom.append(note.firstElementChild, children);
		note.classList.add(...classes);
		main.insertBefore(note, main.firstElementChild);
		return note;
	},
	showModal: function(title, children) {
		const dialogue = document.querySelector('#modal_overlay > .modal');
		dom.content(dialogue, E('h4', {}, title));
		dom.append(dialogue, children);
		document.body.classList.add('modal-overlay-active');
		return dialogue;
	},
	hideModal: function() {
		document.body.classList.remove('modal-overlay-active');
	},
	instantiateView: function(name) {
		load('view.' + name.replace(/\//g, '.')).catch(function(error) {
			dom.content(document.getElementById('view'), [ E('p', { 'class': 'alert-message danger' }, [ String(error.stack || error) ]) ]);
		});
	}
};

const poll = {
	add: function(work, interval) {
		work();
		window.setInterval(work, 1000 * (interval || L.env.pollinterval));
	}
};

/* ── view ──────────────────────────────────────────────────────────────────────────────────────── */

const maps = [];

const View = Base.extend({
	__init__: function() {
		Promise.resolve(this.load()).then(this.render.bind(this)).then(function(nodes) {
			const place = document.getElementById('view');
			dom.content(place, nodes);
			dom.append(place, this.footer());
		}.bind(this)).catch(function(error) {
			dom.content(document.getElementById('view'), [ E('p', { 'class': 'alert-message danger' }, [ String(error.stack || error) ]) ]);
		});
	},
	load: function() {},
	handleSave: function() {
		return Promise.all(maps.map(function(map) { return map.save(); }));
	},
	handleSaveApply: function() {
		return this.handleSave().then(function() { return ask_uci.apply(10, true); }).then(function() { return ask_uci.confirm(); });
	},
	handleReset: function() {
		return Promise.all(maps.map(function(map) { return map.draw(); }));
	},
	footer: function() {
		const readonly = maps.length && maps[0].readonly ? '' : null;
		return E('div', { 'class': 'cbi-page-actions' }, [
			[ 'handleSaveApply', 'btn cbi-button cbi-button-apply important', _('Save & Apply') ], [ 'handleSave', 'cbi-button cbi-button-save', _('Save') ],
			[ 'handleReset', 'cbi-button cbi-button-reset', _('Reset') ]
		].filter(function(row) { return this[row[0]]; }, this).map(function(row) {
			return E('button', { 'class': row[1], 'disabled': readonly, 'click': ui.createHandlerFn(this, row[0]) }, [ row[2] ]);
		}, this));
	}
});

/* ── form ──────────────────────────────────────────────────────────────────────────────────────── */

const may = rpc.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false } });

const FormMap = Base.extend({
	__init__: function(config, title, description) {
		Object.assign(this, { config: config, title: title, description: description, children: [], data: uci });
		maps.push(this);
	},
	section: function(Kind, ...given) {
		const made = new Kind(this, ...given);
		this.children.push(made);
		return made;
	},
	render: async function() {
		this.readonly = !(await may('uci', this.config, 'write'));
		await uci.load(this.config);
		this.root = E('div', { 'class': 'cbi-map', 'id': 'cbi-' + this.config });
		this.draw();
		return this.root;
	},
	draw: function() {
		const tabs = E('ul', { 'class': 'cbi-tabmenu' });
		const panes = this.children.map(function(section) { return section.draw(); });
		dom.content(this.root, [ E('h2', {}, this.title), E('div', { 'class': 'cbi-map-descr' }, this.description), tabs ].concat(panes));
		const show = function(which) {
			panes.forEach(function(pane, at) {
				pane.style.display = at == which ? '' : 'none';
				tabs.children[at].className = at == which ? 'cbi-tab' : 'cbi-tab-disabled';
			});
		};
		panes.forEach(function(pane, at) {
			tabs.appendChild(E('li', {}, [ E('a', { 'href': '#', 'click': function(event) { event.preventDefault(); show(at); } }, pane.getAttribute('data-tab-title')) ]));
		});
		show(0);
	},
	options: function() {
		return this.children.flatMap(function(section) {
			return section.cfgsections().flatMap(function(id) { return section.children.map(function(option) { return [ option, id ]; }); });
		});
	},
	save: async function() {
		try {
			for (const [ option, id ] of this.options())
				option.parse(id);
			await uci.save(this.config);
		}
		catch (error) {
			ui.showModal(_('Save error'), [ E('p', {}, [ _('An error occurred while saving the form:') ]), E('p', {}, [ E('em', {}, [ error.message ]) ]),
				E('div', { 'class': 'right' }, [ E('button', { 'class': 'cbi-button', 'click': ui.hideModal }, [ _('Dismiss') ]) ]) ]);
			throw error;
		}
		this.draw();
	}
});

const Section = Base.extend({
	__init__: function(map, name, ...given) {
		this.map = map;
		this.children = [];
		this.begin(name, ...given);
	},
	option: function(Kind, name, title, description) {
		const made = new Kind(this.map, this, name, title, description);
		this.children.push(made);
		return made;
	},
	tab: function(name, title) {
		this.tabs = this.tabs || [];
		this.tabs.push({ name: name, title: title });
	},
	taboption: function(name, ...given) {
		const made = this.option(...given);
		made.tab = name;
		return made;
	},
	formvalue: function(id, name) {
		const option = this.children.find(function(one) { return one.option == name; });
		return option ? option.formvalue(id) : null;
	},
	frame: function(inside) {
		return E('div', { 'class': 'cbi-section', 'data-tab-title': this.title }, [
			E('h3', {}, this.title), E('div', { 'class': 'cbi-section-descr' }, this.description)
		].concat(inside));
	},
	rows: function(id) {
		if (!this.tabs)
			return E('div', { 'class': 'cbi-section-node', 'data-section-id': id }, this.children.map(function(option) { return option.draw(id); }));
		const menu = E('ul', { 'class': 'cbi-tabmenu' });
		const panes = this.tabs.map(function(tab) {
			return E('div', { 'data-tab': tab.name }, this.children.filter(function(option) { return option.tab == tab.name; }).map(function(option) { return option.draw(id); }));
		}, this);
		const show = function(which) {
			panes.forEach(function(pane, at) {
				pane.style.display = at == which ? '' : 'none';
				menu.children[at].className = at == which ? 'cbi-tab' : 'cbi-tab-disabled';
			});
		};
		this.tabs.forEach(function(tab, at) {
			menu.appendChild(E('li', {}, [ E('a', { 'href': '#', 'click': function(event) { event.preventDefault(); show(at); } }, tab.title) ]));
		});
		show(0);
		return E('div', { 'class': 'cbi-section-node cbi-section-node-tabbed', 'data-section-id': id }, [ menu ].concat(panes));
	}
});

const NamedSection = Section.extend({
	begin: function(name, type, title, description) {
		Object.assign(this, { section: name, sectiontype: type, title: title, description: description });
	},
	cfgsections: function() {
		return uci.has(this.map.config, this.section) ? [ this.section ] : [];
	},
	draw: function() {
		return this.frame(this.cfgsections().map(this.rows, this));
	}
});

const TypedSection = Section.extend({
	begin: function(type, title, description) {
		Object.assign(this, { sectiontype: type, title: title, description: description });
	},
	cfgsections: function() {
		return uci.sections(this.map.config, this.sectiontype).filter(function(id) { return uci.gone[id] !== true; });
	},
	draw: function() {
		return this.frame(this.cfgsections().map(function(id) {
			return E('div', {}, [ E('button', { 'class': 'cbi-button', 'click': function() {
				uci.gone[id] = true;
				this.map.save();
			}.bind(this) }, [ _('Delete') ]), this.rows(id) ]);
		}, this).concat(E('button', { 'class': 'cbi-button cbi-button-add', 'click': function() {
			/* What was filled in elsewhere is saved with it. */
			uci.add(this.map.config, this.sectiontype);
			this.map.save();
		}.bind(this) }, [ this.addbtntitle ])));
	}
});

const AbstractValue = Base.extend({
	__init__: function(map, section, option, title, description) {
		Object.assign(this, { map: map, section: section, option: option, title: title, description: description, rmempty: true, nodes: {} });
	},
	cbid: function(id) {
		return 'cbid.%s.%s.%s'.format(this.map.config, id, this.option);
	},
	cfgvalue: function(id) {
		return uci.get(this.map.config, id, this.option);
	},
	draw: function(id) {
		const value = this.cfgvalue(id);
		const widget = this.widget(id, value != null ? value : this.default);
		this.nodes[id] = widget;
		return E('div', { 'class': 'cbi-value', 'data-field': this.cbid(id) }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'widget.' + this.cbid(id) }, this.title),
			E('div', { 'class': 'cbi-value-field' }, [ widget, E('div', { 'class': 'cbi-value-description' }, this.description) ])
		]);
	},
	validate: function() {
		return true;
	},
	/* What is wrong with a text in an input; it is marked so that one sees it. */
	look: function(id, input) {
		const fault = input.value == '' ? true : this.validate(id, input.value);
		input.classList.toggle('cbi-input-invalid', fault !== true);
		return fault === true ? '' : fault;
	},
	input: function(id) {
		return this.nodes[id].matches('input, select') ? this.nodes[id] : this.nodes[id].querySelector('input');
	},
	isValid: function(id) {
		return this.look(id, this.input(id)) == '';
	},
	getValidationError: function(id) {
		return this.look(id, this.input(id));
	},
	formvalue: function(id) {
		return this.input(id).value;
	},
	parse: function(id) {
		if (!this.nodes[id]) // a section that has just been added
			return;
		if (!this.isValid(id))
			throw new TypeError('%s %s'.format(_('Option "%s" contains an invalid input value.').format(this.title), this.getValidationError(id)));
		const value = this.formvalue(id), before = this.cfgvalue(id);
		if (value == null || value.length == 0)
			uci.unset(this.map.config, id, this.option);
		else if (JSON.stringify(value) != JSON.stringify(before))
			uci.set(this.map.config, id, this.option, value);
	},
	attributes: function(id, more) {
		return Object.assign({ 'id': 'widget.' + this.cbid(id), 'disabled': this.map.readonly ? '' : null }, more);
	}
});

const Value = AbstractValue.extend({
	widget: function(id, value) {
		const made = E('input', this.attributes(id, { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder || null, 'value': value }));
		[ 'keyup', 'blur' ].forEach(function(name) { made.addEventListener(name, this.look.bind(this, id, made)); }, this);
		return made;
	}
});

const Flag = AbstractValue.extend({
	default: '0',
	widget: function(id, value) {
		return E('input', this.attributes(id, { 'type': 'checkbox', 'checked': value == '1' ? '' : null }));
	},
	formvalue: function(id) {
		return this.input(id).checked ? '1' : '0';
	},
	isValid: function() {
		return true;
	}
});

const ListValue = AbstractValue.extend({
	value: function(key, title) {
		(this.choices = this.choices || []).push([ key, title ]);
	},
	widget: function(id, value) {
		return E('select', this.attributes(id, { 'class': 'cbi-input-select' }), this.choices.map(function(choice) {
			return E('option', { 'value': choice[0], 'selected': choice[0] == value ? '' : null }, choice[1]);
		}));
	}
});

const DynamicList = AbstractValue.extend({
	widget: function(id, value) {
		const list = E('div', { 'class': 'cbi-dynlist' });
		const input = E('input', this.attributes(id, { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder || null }));
		const add = function(text) {
			const item = E('div', { 'class': 'item', 'tabindex': 0, 'data-value': text, 'click': function() { item.remove(); } }, [ text ]);
			list.insertBefore(item, list.lastElementChild);
		};
		list.appendChild(E('div', { 'class': 'add-item' }, [ input, E('div', { 'class': 'btn cbi-button cbi-button-add', 'click': function() {
			if (input.value.length && !this.look(id, input)) {
				add(input.value);
				input.value = '';
			}
		}.bind(this) }, '+') ]));
		input.addEventListener('keydown', function(event) {
			if (event.key == 'Enter')
				list.querySelector('.cbi-button-add').click();
		});
		L.toArray(value).forEach(add);
		return list;
	},
	/* What is typed and not added yet counts, too, unless it is invalid. */
	formvalue: function(id) {
		const typed = this.input(id), items = [ ...this.nodes[id].querySelectorAll('.item') ].map(function(item) { return item.getAttribute('data-value'); });
		return items.concat(typed.value && !this.look(id, typed) && !items.includes(typed.value) ? [ typed.value ] : []);
	}
});

Object.assign(modules, {
	dom: dom, rpc: rpc, uci: uci, ui: ui, poll: poll, view: View,
	form: { Map: FormMap, NamedSection: NamedSection, TypedSection: TypedSection, Value: Value, Flag: Flag, ListValue: ListValue, DynamicList: DynamicList }
});

window.LuCI = function(env) {
	Object.assign(this, { env: env, require: load });
};
Object.assign(window.LuCI.prototype, {
	isObject: function(value) {
		return value != null && typeof(value) == 'object';
	},
	toArray: function(value) {
		return value == null ? [] : Array.isArray(value) ? value : String(value).trim().split(/\s+/).filter(Boolean);
	},
	url: function(path) {
		return '/cgi-bin/luci/' + path;
	},
	hasViewPermission: function() {
		return this.env.nodespec.satisfied ? !this.env.nodespec.readonly : null;
	}
});
window.stub = { maps: maps, uci: uci };
})(window, document);
