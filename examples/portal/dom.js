// Elements without markup: every text becomes a text node, so data is never read as HTML.

export const byId = (id) => document.getElementById(id);

/** `attributes`: a function listens to the event of its name, true and false set and leave out, others are texts. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key, value);
    else if (typeof value === 'boolean') made.toggleAttribute(key, value);
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child || child === 0));
  return made;
}

export const badge = (kind, text = kind) => element('span', { class: `badge ${kind}` }, text);

/** A time of the gateway's (RFC 3339) as this reader writes times. */
export const when = (time) => element('time', { datetime: time }, new Date(time).toLocaleString());

/** A secret with buttons that show and copy it; it is in no attribute and in no storage. */
export function secret(text, label, shown) {
  const held = element('code', { class: 'secret', 'aria-label': label });
  const reveal = element('button', { type: 'button', click: () => show(held.dataset.shown !== 'true') });
  const copy = element('button', {
    type: 'button',
    'aria-label': `Copy the ${label}`,
    click: async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = 'Copied';
      } catch {
        show(true);
        getSelection().selectAllChildren(held);
        copy.textContent = 'Copy it by hand';
      }
    },
  }, 'Copy');
  function show(now) {
    held.dataset.shown = String(now);
    held.textContent = now ? text : '•'.repeat(text.length);
    reveal.textContent = now ? 'Hide' : 'Show';
    reveal.setAttribute('aria-label', `${now ? 'Hide' : 'Show'} the ${label}`);
  }
  show(shown);
  return element('span', { class: 'held' }, held, reveal, copy);
}
