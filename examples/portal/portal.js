// The page: settings, sign-in, then the two views. Nothing here is sent anywhere but to what config.json names.

import { ask, prepare } from './dialog.js';
import { byId, element } from './dom.js';
import { Gateway } from './gateway.js';
import { History } from './history.js';
import { Instances } from './instances.js';
import { explain } from './problem.js';
import { SignIn, SignInError, secureUrl } from './signin.js';

const SIGNED_OUT = '#signed-out';

async function settings() {
  let config;
  try {
    config = await (await fetch('config.json', { cache: 'no-store' })).json();
  } catch {
    throw new SignInError('config.json, beside this page, is missing or is no JSON.');
  }
  const gateway = secureUrl(config.gateway, 'The gateway');
  if (gateway.pathname !== '/') throw new SignInError('The gateway must be an origin, without a path.');
  const issuer = secureUrl(config.issuer, 'The issuer');
  if (!config.clientId) throw new SignInError('config.json names no clientId.');
  const further = (config.connect ?? []).map((url) => secureUrl(url, 'An origin of `connect`').origin);
  // A second policy can only take away: from here on this page speaks with these origins and no others.
  const policy = `connect-src ${[...new Set([gateway.origin, issuer.origin, ...further])].join(' ')}`;
  document.head.append(element('meta', { 'http-equiv': 'Content-Security-Policy', content: policy }));
  return { ...config, gateway };
}

function welcome(config, signIn) {
  byId('issuer').textContent = config.issuer;
  byId('goodbye').hidden = location.hash !== SIGNED_OUT;
  byId('goodbye').textContent = 'You are signed out of this page. At the identity provider you may still be signed in.';
  byId('welcome').hidden = false;
  byId('sign-in').addEventListener('click', () => leave(signIn));
}

async function leave(signIn) {
  try {
    await signIn.begin();
  } catch (error) {
    byId('notice').replaceChildren(explain(error));
  }
}

async function enter(config, signIn, session) {
  const gateway = new Gateway(config.gateway, session);
  const pageSize = config.pageSize ?? 50;
  const instances = new Instances(gateway, pageSize, ask);
  const history = new History(gateway, pageSize);
  prepare(gateway, { changed: () => instances.reload(), taken: () => instances.unselect() });

  function show(view) {
    for (const name of ['instances', 'history']) {
      byId(name).hidden = name !== view;
      byId(`show-${name}`).setAttribute('aria-current', name === view ? 'page' : 'false');
    }
    return view === 'instances' ? instances.reload() : history.reload();
  }
  byId('show-instances').addEventListener('click', () => show('instances'));
  byId('show-history').addEventListener('click', () => show('history'));

  const me = await gateway.whoami();
  byId('user').textContent = me.subject;
  byId('team').replaceChildren(...me.teams.map((team) => element('option', {}, team)));
  byId('team').addEventListener('change', () => {
    gateway.team = byId('team').value;
    instances.clear();
    show('instances');
  });
  gateway.team = me.team ?? me.teams[0] ?? null;
  byId('sign-out').addEventListener('click', () => {
    // A new document: what this one held in memory goes with it.
    window.history.replaceState(null, '', SIGNED_OUT);
    location.reload();
  });
  document.addEventListener('sign-in', () => leave(signIn));
  // Passwords on a card, and the key of a batch, go with the page.
  addEventListener('beforeunload', (event) => { if (byId('results').childElementCount > 0) event.preventDefault(); });
  byId('who').hidden = false;
  byId('portal').hidden = false;
  await show('instances');
}

async function start() {
  // The header frame-ancestors is what forbids it; this is for hosts that forgot it.
  if (window.top !== window.self) throw new SignInError('This page does not run inside another one.');
  const config = await settings();
  const signIn = new SignIn(config);
  let session = null;
  try {
    session = await signIn.finish();
  } catch (error) {
    byId('notice').replaceChildren(explain(error));
  }
  if (session) await enter(config, signIn, session);
  else welcome(config, signIn);
}

start().catch((error) => byId('notice').replaceChildren(explain(error)));
