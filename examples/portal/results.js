// What came of the resets of this visit. Passwords are on these cards and nowhere else: a card that is put away is gone.

import { badge, byId, element, secret } from './dom.js';
import { Refused } from './gateway.js';
import { explain } from './problem.js';

const SECOND = 1000;

const MEANING = {
  queued: 'waits for its turn',
  sent: 'on its way',
  accepted: 'Zenlayer took it; it may need a moment',
  rejected: 'Zenlayer refused it, the password is the one of before',
  unknown: 'no trustworthy answer came: the password may be the new one or the one of before',
  not_sent: 'nothing was sent, the password is the one of before',
};

/** Statuses after which the instance has the new password, or may have it. */
const SET = ['accepted', 'unknown'];
const ENDED = ['accepted', 'rejected', 'unknown', 'not_sent'];

export const pause = (milliseconds) => new Promise((over) => setTimeout(over, milliseconds));

const meaning = ({ status, cause, upstreamCode }) =>
  MEANING[status] + [cause, upstreamCode].filter(Boolean).map((why) => ` (${why})`).join('');

function card(title, ...content) {
  const made = element('article', { class: 'card result', 'aria-label': title },
    element('div', { class: 'tools' },
      element('h3', {}, title),
      element('button', { type: 'button', click: () => made.remove() }, 'Done')),
    ...content);
  byId('results').prepend(made);
  return made;
}

const once = () =>
  element('p', { class: 'hint' }, 'Shown here only. Put it where it belongs: once this card is done, nobody can show it again.');

/** A single reset that was answered. */
export function showReset(reset) {
  card(`Reset of ${reset.instanceId}`,
    element('p', {}, badge(reset.status), ' ', meaning(reset)),
    reset.password && [secret(reset.password, `password of ${reset.instanceId}`, true), once()]);
}

/** A single reset that may have happened (504), with the password that may have been set. */
export function showDoubt(instance, error) {
  card(`Reset of ${instance}`,
    explain(error),
    error.problem.password && [secret(error.problem.password, `password of ${instance}`, true), once()]);
}

/** A batch, followed to its end; passwords are opened as soon as they are set. */
export async function followBatch({ batch, place }, key, gateway, finished) {
  const total = batch.resets.length;
  const bar = element('progress', { max: String(total), value: '0', 'aria-label': 'Progress' });
  const counts = element('span', { class: 'counts' });
  const trouble = element('div', { role: 'alert' });
  const rows = new Map(batch.resets.map(({ id, instanceId }) => {
    const state = element('div', { class: 'state' });
    const password = element('div', { class: 'opened' });
    return [id, { state, password, line: element('li', {}, element('strong', {}, instanceId), state, password) }];
  }));
  const shown = card(`Reset of ${total} instances`,
    element('p', { class: 'progress' }, bar, counts), trouble,
    element('ul', { class: 'items' }, [...rows.values()].map(({ line }) => line)), once());

  async function open(row, reset) {
    try {
      row.password.append(secret(await key.open(reset.sealedPassword), `password of ${reset.instanceId}`, false));
    } catch {
      row.password.append('The sealed password does not open with the key of this page.');
    }
  }

  function show({ resets, counts: told }) {
    for (const reset of resets) {
      const row = rows.get(reset.id);
      if (row.status === reset.status) continue;
      row.status = reset.status;
      row.state.replaceChildren(badge(reset.status), ` ${meaning(reset)}`);
      if (SET.includes(reset.status) && reset.sealedPassword && !row.password.hasChildNodes()) open(row, reset);
    }
    const ended = ENDED.reduce((sum, status) => sum + (told[status] ?? 0), 0);
    bar.value = ended;
    counts.textContent = Object.entries(told).map(([status, count]) => `${count} ${status}`).join(', ');
  }

  show(batch);
  let wait = SECOND;
  while (batch.status !== 'finished' && shown.isConnected) {
    await pause(wait);
    try {
      batch = await gateway.read(place);
      show(batch);
      trouble.replaceChildren();
      wait = SECOND;
    } catch (error) {
      trouble.replaceChildren(explain(error));
      // Asked again until the card is put away: without this page nobody can open its passwords.
      wait = error instanceof Refused && error.retryAfter ? error.retryAfter * SECOND : Math.min(wait * 2, 10 * SECOND);
    }
  }
  finished();
}
