// The list of instances, each with what a reset would meet.

import { badge, byId, element } from './dom.js';
import { explain } from './problem.js';

/** Most instances of one call. */
const MOST = 100;
/** Pages that one look fetches, so that a list that was paged through can be shown anew. */
const MOST_PAGES = 10;

const BLOCKERS = {
  policy: 'policy does not permit it',
  'not-running': 'it does not run',
  busy: 'it is busy',
  'no-agent': 'it has no guest agent',
  cooldown: 'it was reset a moment ago',
  quota: "the team's quota is spent",
  stale: 'this is out of date',
};

export class Instances {
  #gateway;
  #pageSize;
  #ask;
  #shown = new Map();
  #selected = new Set();
  #cursor;
  #look = 0;

  constructor(gateway, pageSize, ask) {
    this.#gateway = gateway;
    this.#pageSize = pageSize;
    this.#ask = ask;
    byId('more-instances').addEventListener('click', () => this.#more());
    byId('reset-selected').addEventListener('click', () => ask([...this.#selected]));
    byId('search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.clear();
      this.reload();
    });
  }

  clear() {
    this.#selected.clear();
    this.#shown.clear();
    this.#cursor = undefined;
    this.#draw();
  }

  unselect() {
    this.#selected.clear();
    this.#draw();
  }

  /** From the first page on, as far as was shown before. */
  reload() {
    return this.#fetch(undefined, new Map(), this.#shown.size);
  }

  #more() {
    return this.#fetch(this.#cursor, new Map(this.#shown), this.#shown.size + 1);
  }

  async #fetch(cursor, found, wanted) {
    // An older look that is answered late must not undo a newer one.
    const look = ++this.#look;
    byId('instances-problem').replaceChildren();
    byId('instances-status').textContent = 'Loading…';
    try {
      let pages = 0;
      do {
        const page = await this.#gateway.instances({ limit: this.#pageSize, name: byId('name').value.trim(), cursor });
        if (look !== this.#look) return;
        for (const instance of page.items) found.set(instance.instanceId, instance);
        cursor = page.nextCursor;
      } while (cursor && found.size < wanted && ++pages < MOST_PAGES);
      this.#shown = found;
      this.#cursor = cursor;
      this.#draw();
    } catch (error) {
      if (look !== this.#look) return;
      byId('instances-status').textContent = '';
      byId('instances-problem').replaceChildren(explain(error));
    }
  }

  #draw() {
    // What can no longer be chosen is not chosen.
    for (const id of this.#selected) if (!this.#shown.get(id)?.reset.allowed) this.#selected.delete(id);
    byId('instance-rows').replaceChildren(...[...this.#shown.values()].map((instance) => this.#row(instance)));
    byId('more-instances').hidden = !this.#cursor;
    const count = this.#shown.size;
    byId('instances-status').textContent = count > 0 || this.#cursor
      ? `${count} shown${this.#cursor ? ', and there are more.' : '.'}`
      : 'There are no instances that you may see.';
    this.#count();
  }

  #count() {
    const count = this.#selected.size;
    const button = byId('reset-selected');
    button.disabled = count === 0 || count > MOST;
    button.textContent = count > MOST ? `Reset ${MOST} at most` : count > 0 ? `Reset ${count} selected` : 'Reset selected';
  }

  #row({ instanceId, name, status, zoneId, addresses, reset }) {
    const select = element('input', {
      type: 'checkbox', 'aria-label': `Select ${instanceId}`, disabled: !reset.allowed,
      change: () => {
        if (select.checked) this.#selected.add(instanceId);
        else this.#selected.delete(instanceId);
        this.#count();
      },
    });
    select.checked = this.#selected.has(instanceId);
    const kind = !reset.allowed ? 'forbidden' : reset.ready ? 'ready' : 'blocked';
    const word = { forbidden: 'not permitted', ready: 'ready', blocked: 'not now' }[kind];
    const why = reset.blockers.filter((blocker) => blocker !== 'policy').map((blocker) => BLOCKERS[blocker] ?? blocker);
    return element('tr', { 'data-instance': instanceId },
      element('td', { class: 'select' }, select),
      element('th', { scope: 'row' }, instanceId),
      element('td', { 'data-label': 'Name' }, name ?? '–'),
      element('td', { 'data-label': 'State' }, [status, zoneId].filter(Boolean).join(', ') || '–'),
      element('td', { 'data-label': 'Addresses' }, addresses.join(', ') || '–'),
      element('td', { 'data-label': 'Reset' }, badge(kind, word), why.length > 0 && ` ${why.join(', ')}`),
      element('td', { class: 'actions' }, element('button', {
        type: 'button', 'aria-label': `Reset ${instanceId}`, disabled: !reset.allowed,
        click: () => this.#ask([instanceId]),
      }, 'Reset…')));
  }
}
