// The dialog that asks how and why, for one instance or for several.

import { byId, element } from './dom.js';
import { Refused } from './gateway.js';
import { explain } from './problem.js';
import { followBatch, showDoubt, showReset } from './results.js';
import { RecipientKey } from './sealed.js';

const dialog = byId('reset');
const form = byId('reset-form');
const password = byId('reset-password');

let instances = [];

const typed = () => instances.length === 1 && form.elements.how.value === 'typed';

function reveal(shown) {
  password.type = shown ? 'text' : 'password';
  byId('reset-reveal').textContent = shown ? 'Hide' : 'Show';
  byId('reset-reveal').setAttribute('aria-pressed', String(shown));
}

function choose() {
  byId('reset-typed').hidden = !typed();
  password.required = typed();
  password.disabled = !typed();
}

/** Asks for one, or for several, of which each gets a password of its own. */
export function ask(ids) {
  instances = ids;
  form.reset();
  reveal(false);
  choose();
  const several = ids.length > 1;
  byId('reset-title').textContent = several ? `Reset ${ids.length} instances` : `Reset ${ids[0]}`;
  byId('reset-about').textContent = several
    ? 'Each gets a password of its own, sealed to a key of this page: keep the page open until you have taken them.'
    : 'Whoever uses the present password is locked out.';
  byId('reset-how').hidden = several;
  byId('reset-list').replaceChildren(...(several ? ids.map((id) => element('li', {}, id)) : []));
  byId('reset-problem').replaceChildren();
  dialog.showModal();
}

function why() {
  const texts = { reason: byId('reset-reason').value.trim(), ticket: byId('reset-ticket').value.trim() };
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text));
}

async function one(gateway) {
  const [instance] = instances;
  const body = typed() ? { password: password.value, ...why() } : { generate: true, ...why() };
  try {
    showReset(await gateway.reset(instance, body));
  } catch (error) {
    // Whether it happened is not known, and what may have been set must not get lost.
    if (!(error instanceof Refused && error.status === 504)) throw error;
    showDoubt(instance, error);
  }
}

async function many(gateway, changed) {
  const key = await RecipientKey.make();
  const begun = await gateway.resetMany({ instanceIds: instances, generate: true, recipientKey: key.jwk, ...why() });
  followBatch(begun, key, gateway, changed);
}

/** `changed` is called when instances may have changed, `taken` when a call was taken. */
export function prepare(gateway, { changed, taken }) {
  form.addEventListener('change', choose);
  byId('reset-reveal').addEventListener('click', () => reveal(password.type === 'password'));
  byId('reset-cancel').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => { password.value = ''; });
  // While the answer is awaited the dialog stays: it is where a refusal is told.
  dialog.addEventListener('cancel', (event) => { if (form.inert) event.preventDefault(); });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    byId('reset-problem').replaceChildren();
    byId('reset-go').textContent = 'Resetting…';
    form.inert = true;
    try {
      await (instances.length > 1 ? many(gateway, changed) : one(gateway));
      dialog.close();
      taken();
      changed();
    } catch (error) {
      byId('reset-problem').replaceChildren(explain(error, instances));
      changed();
    } finally {
      form.inert = false;
      byId('reset-go').textContent = 'Reset';
    }
  });
}
