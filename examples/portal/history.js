// The resets of the team, the newest first.

import { badge, byId, element, when } from './dom.js';
import { explain } from './problem.js';

export class History {
  #gateway;
  #pageSize;
  #cursor;
  #look = 0;

  constructor(gateway, pageSize) {
    this.#gateway = gateway;
    this.#pageSize = pageSize;
    byId('more-history').addEventListener('click', () => this.#fetch(this.#cursor));
    byId('history-filter').addEventListener('submit', (event) => {
      event.preventDefault();
      this.reload();
    });
  }

  reload() {
    byId('history-rows').replaceChildren();
    return this.#fetch();
  }

  async #fetch(cursor) {
    const look = ++this.#look;
    const rows = byId('history-rows');
    byId('history-problem').replaceChildren();
    byId('history-state').textContent = 'Loading…';
    try {
      const page = await this.#gateway.history({
        limit: this.#pageSize, status: byId('history-status').value,
        instanceId: byId('history-instance').value.trim(), cursor,
      });
      if (look !== this.#look) return;
      rows.append(...page.items.map(row));
      this.#cursor = page.nextCursor;
      byId('more-history').hidden = !this.#cursor;
      const count = rows.childElementCount;
      byId('history-state').textContent = count > 0 ? `${count} shown.` : 'There are no such resets.';
    } catch (error) {
      if (look !== this.#look) return;
      byId('history-state').textContent = '';
      byId('history-problem').replaceChildren(explain(error));
    }
  }
}

function row({ id, batchId, instanceId, status, cause, upstreamCode, reason, ticket, createdAt, requestId }) {
  return element('tr', { 'data-reset': id },
    element('td', { 'data-label': 'When' }, when(createdAt)),
    element('th', { scope: 'row' }, instanceId),
    element('td', { 'data-label': 'Status' }, badge(status), ` ${[cause, upstreamCode].filter(Boolean).join(' ')}`),
    element('td', { 'data-label': 'Reason, ticket' }, [reason, ticket].filter(Boolean).join(' · ') || '–'),
    element('td', { 'data-label': 'Ids' }, element('details', {},
      element('summary', {}, 'ids'),
      element('dl', {}, Object.entries({ reset: id, batch: batchId, request: requestId })
        .filter(([, value]) => value)
        .map(([name, value]) => [element('dt', {}, name), element('dd', {}, element('code', {}, value))]).flat()))));
}
