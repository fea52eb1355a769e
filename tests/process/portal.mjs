// Drives examples/portal in Chromium as a user would, and looks where passwords and tokens must not be. Prints a line for
// each thing it saw; exits 1 at the first that is otherwise, or after 90 s.
//
//   node portal.mjs MODULES CHROMIUM '{"port", "gateway", "issuer", "simulator"}'
//
// With ZENGATE_TEST_SCREENSHOTS, a folder, it leaves a picture of each state there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';

import { launched } from './browser.mjs';

setTimeout(() => { console.error('portal.mjs: not done within 90 s'); process.exit(1); }, 90_000).unref();

const [modules, executablePath, places] = process.argv.slice(2);
const { port, gateway, issuer, simulator } = JSON.parse(places);
const portal = new URL('../../examples/portal/', import.meta.url);

// A host as README.md of the portal describes it; `/bare` is a page without any script or policy.
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json' };
// Of the policies this one alone: the page's own are looked at.
const HEADERS = {
  'content-security-policy': "frame-ancestors 'none'", 'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'clipboard-write=(self)', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff',
};
const config = { gateway, issuer, clientId: 'page', scope: 'openid', resource: 'urn:zengate:brief:ES256', pageSize: 5 };

function host(listen) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://host');
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    if (name === 'bare') return response.setHeader('content-type', 'text/html').end('<!doctype html><title>bare</title>');
    const type = /^[a-z]+\.[a-z]+$/.test(name) && TYPES[extname(name)];
    if (!type) return response.writeHead(404).end();
    response.setHeader('content-type', `${type}; charset=utf-8`);
    for (const [header, value] of Object.entries(HEADERS)) response.setHeader(header, value);
    return response.end(name === 'config.json' ? JSON.stringify(config) : readFileSync(new URL(name, portal)));
  });
  return new Promise((ready) => server.listen(listen, '127.0.0.1', () => ready(`http://127.0.0.1:${server.address().port}`)));
}
const origin = await host(port);
const stranger = await host(0);

async function simulated(path, body) {
  const answer = await fetch(`${simulator}/_simulator/${path}`, body && { method: 'POST', body: JSON.stringify(body) });
  return answer.json();
}
const held = async (id) => (await simulated('instances')).instances.find((one) => one.instanceId === id).password;

const browser = await launched(modules, executablePath);
const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
context.setDefaultTimeout(20_000);
await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin });
// Everything that is asked for, and nothing beyond this machine.
const requests = [];
context.on('request', (request) => requests.push(request));
const here = [origin, stranger, gateway, issuer];
const outside = [];
const page = await context.newPage();
await context.route((url) => !here.includes(url.origin), (route) => {
  // The provider's own page asks for a font.
  if (!page.url().startsWith(issuer)) outside.push(route.request().url());
  return route.abort();
});
const complaints = [];
page.on('pageerror', (error) => complaints.push(String(error)));
page.on('console', (message) => { if (message.text().includes('Content Security Policy')) complaints.push(message.text()); });
let asked = 0;
page.on('dialog', (dialog) => { asked += 1; return dialog.accept(); });

const shots = process.env.ZENGATE_TEST_SCREENSHOTS;
async function shot(name) {
  if (!shots) return;
  for (const [scheme, width] of [['light', 1200], ['dark', 1200], ['light', 390]]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 900 });
    await page.screenshot({ path: `${shots}/${name}-${scheme}-${width}.png`, fullPage: true });
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1200, height: 900 });
}

const button = (name, within = page) => within.getByRole('button', { name, exact: true });
const dialog = page.getByRole('dialog');
const row = (id) => page.locator(`tr[data-instance="${id}"]`);
const card = (name) => page.getByRole('article', { name, exact: true });
const posts = (end) => requests.filter((request) => request.method() === 'POST' && request.url().endsWith(end));
const has = async (locator, ...texts) => {
  await locator.waitFor();
  const text = await locator.innerText();
  for (const wanted of texts) assert.ok(text.includes(wanted), `${wanted} in: ${text}`);
};
const storage = () => page.evaluate(async () => JSON.stringify([
  { ...localStorage }, { ...sessionStorage }, document.cookie, await indexedDB.databases(), await caches.keys(),
]));
const NOTHING = '[{},{},"",[],[]]';
const passwords = [];
const nameless = () => page.evaluate(() => [...document.querySelectorAll('input, select, button')]
  .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim())).map((one) => one.outerHTML));

// Sign-in: to the provider and back.
await page.goto(`${origin}/`);
await page.getByText(issuer).waitFor();
await shot('welcome');
await button('Sign in').click();
await page.locator('input[name=login]').fill('alice');
await page.locator('input[name=password]').fill('anything');
await page.locator('button[type=submit]').click();
await page.locator('button[type=submit]', { hasText: 'Continue' }).click();
await row('pay-01').waitFor();
const authorization = new URL(requests.find((request) => request.url().startsWith(`${issuer}/auth?`)).url()).searchParams;
assert.equal(authorization.get('code_challenge_method'), 'S256');
for (const name of ['state', 'nonce', 'code_challenge']) assert.equal(authorization.get(name).length, 43, name);
assert.equal(page.url(), `${origin}/`);
assert.equal(await storage(), NOTHING);
await has(page.locator('#user'), 'alice');
console.log('signed in: S256, state and nonce; no code in the URL, nothing in storage');

// The list, five at a time.
assert.equal(await page.locator('#instance-rows tr').count(), 5);
await button('More instances').click();
await row('pay-09').waitFor();
assert.equal(await page.locator('#instance-rows tr').count(), 9);
await has(row('pay-01'), 'ready', 'payments-db', '10.0.0.10');
await has(row('pay-03'), '<img src=x onerror=alert(1)>');
await has(row('pay-08'), 'not now', 'it does not run');
await has(row('pay-09'), 'not permitted');
assert.ok(await button('Reset pay-09').isDisabled());
assert.ok(await page.getByLabel('Select pay-09').isDisabled());
await shot('instances');
console.log('listed: by cursor, with what a reset would meet; a name that is markup is a text');

await page.getByLabel('Team').selectOption('web');
await row('web-01').waitFor();
assert.equal(await page.locator('#instance-rows tr').count(), 1);
await page.getByLabel('Team').selectOption('payments');
await row('pay-01').waitFor();
await button('More instances').click();
await row('pay-09').waitFor();
console.log('teams: each its own instances');

// One, generated.
await button('Reset pay-01').click();
await page.getByLabel('Reason, for the record').fill('the owner lost it');
await shot('dialog');
await button('Reset', dialog).click();
await has(card('Reset of pay-01'), 'accepted');
const generated = await card('Reset of pay-01').locator('.secret').innerText();
assert.equal(generated, await held('pay-01'));
passwords.push(generated);
await button('Copy the password of pay-01').click();
await button('Copy the password of pay-01').getByText('Copied').waitFor();
assert.equal(await page.evaluate(() => navigator.clipboard.readText()), generated);
await shot('generated');
await button('Hide the password of pay-01').click();
assert.ok(!(await page.content()).includes(generated));
await button('Done', card('Reset of pay-01')).click();
await card('Reset of pay-01').waitFor({ state: 'detached' });
console.log('generated: shown once, copied, and the one that Zenlayer holds');

// One, typed.
await button('Reset pay-02').click();
await page.getByLabel('Typed by me').check();
await page.getByLabel('Password', { exact: true }).fill('Example~2026');
assert.deepEqual(await nameless(), []);
await shot('typed');
await button('Reset', dialog).click();
await has(card('Reset of pay-02'), 'accepted');
assert.equal(await held('pay-02'), 'Example~2026');
passwords.push('Example~2026');
await button('Done', card('Reset of pay-02')).click();
console.log('typed: the one that Zenlayer holds');

// Refused.
await button('Reset pay-07').click();
await button('Reset', dialog).click();
await has(page.locator('#reset-problem'), 'Policy does not permit this', 'global/production-needs-a-ticket', '403');
await shot('refused');
await page.getByLabel('Ticket').fill('OPS-1234');
await button('Reset', dialog).click();
await has(card('Reset of pay-07'), 'accepted');
passwords.push(await card('Reset of pay-07').locator('.secret').innerText());
console.log('refused: a missing ticket, and the policy that asks for it');

await has(row('pay-01'), 'not now', 'reset a moment ago');
await button('Reset pay-01').click();
await button('Reset', dialog).click();
await has(page.locator('#reset-problem'), 'A limit is spent', 'Try again in', '429');
await button('Cancel').click();
console.log('refused: too early, and when to try again');

for (const id of ['pay-01', 'pay-03', 'pay-04', 'pay-05', 'pay-06']) await page.getByLabel(`Select ${id}`).check();
await button('Reset 5 selected').click();
await button('Reset', dialog).click();
await has(page.locator('#reset-problem'), 'pay-01');
await shot('batch-refused');
await button('Cancel').click();
await page.getByLabel('Select pay-01').uncheck();
console.log('refused: a batch, and which of it');

// Several, sealed: two are set, one is refused by Zenlayer, of one nobody knows.
const action = 'ResetInstancePassword';
await simulated('faults', [
  { fault: 'error', status: 400, code: 'OPERATION_DENIED_INSTANCE_IN_OPERATION', message: 'Busy.', action, instanceId: 'pay-04' },
  { fault: 'garbage', applied: true, action, instanceId: 'pay-05' },
  { fault: 'delay', milliseconds: 3000, jitterMilliseconds: 0, action, instanceId: 'pay-06' },
]);
await button('Reset 4 selected').click();
await button('Reset', dialog).click();
const batch = card('Reset of 4 instances');
const progress = (good) => page.waitForFunction(good, undefined, { polling: 50 });
await progress(() => { const bar = document.querySelector('progress'); return bar?.value > 0 && bar.value < 4; });
// It is read on as the team that began it.
await page.getByLabel('Team').selectOption('web');
await row('web-01').waitFor();
await shot('batch-running');
await progress(() => document.querySelector('progress').value === 4);
await has(batch, '2 accepted', '1 rejected', '1 unknown');
const item = (id) => batch.getByRole('listitem').filter({ hasText: id });
for (const id of ['pay-03', 'pay-05', 'pay-06']) {
  await button(`Show the password of ${id}`).click();
  const opened = await item(id).locator('.secret').innerText();
  assert.equal(opened, await held(id), id);
  passwords.push(opened);
}
assert.equal(await item('pay-04').locator('.secret').count(), 0);
await shot('batch-done');
const [sent] = posts('/v1/password-resets?team=payments').slice(-1);
assert.equal((await sent.allHeaders()).prefer, 'respond-async');
assert.deepEqual(Object.keys(sent.postDataJSON().recipientKey).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use']);
assert.equal((await sent.response()).status(), 202);
console.log('batch: sealed, followed to its end, and opened here');

await page.getByLabel('Team').selectOption('payments');

// One that may have happened, one that never got out, and a token that is none.
await simulated('faults', [{ fault: 'garbage', applied: true, action }]);
await button('Reset pay-04').click();
await page.route('**/password-resets*', (route) => route.abort(), { times: 1 });
await button('Reset', dialog).click();
await has(page.locator('#reset-problem'), 'No answer', 'it may have happened');
await button('Reset', dialog).click();
await has(card('Reset of pay-04'), 'Whether the password changed is not known', '504');
passwords.push(await card('Reset of pay-04').locator('.secret').innerText());
assert.equal(passwords.at(-1), await held('pay-04'));
await shot('doubt');
const headers = { authorization: 'Bearer not.a.token' };
await page.route('**/v1/instances*', (route) => route.continue({ headers: { ...route.request().headers(), ...headers } }), { times: 1 });
await button('Show', page.locator('#search')).click();
await has(page.locator('#instances-problem'), 'The caller is not authenticated', 'Sign in again');
await shot('unauthenticated');
console.log('in doubt: the password is told with a 504; no answer and no sign-in are told apart');

await button('History').click();
await page.locator('#history-rows tr').nth(4).waitFor();
await shot('history');
await page.getByLabel('Status').selectOption('rejected');
await button('Show', page.locator('#history-filter')).click();
await page.locator('#history-state').getByText('1 shown.').waitFor();
await has(page.locator('#history-rows'), 'pay-04', 'OPERATION_DENIED_INSTANCE_IN_OPERATION');
console.log('history: by status');

const tokens = await Promise.all(posts('/token').map(async (request) => (await request.response()).json()));
assert.ok(posts('/token').some((request) => request.postData().includes('grant_type=refresh_token')));
console.log('renewed: the access token, by a refresh token in memory');

// Confined, also by the browser: the gateway's and the provider's origins, and no others.
assert.deepEqual(complaints, []);
assert.deepEqual(outside, []);
const confined = await page.evaluate(async (elsewhere) => {
  const seen = new Promise((told) => { document.addEventListener('securitypolicyviolation', (event) => told(event.effectiveDirective)); });
  await fetch(elsewhere).catch(() => {});
  const markup = (() => { try { document.body.innerHTML = '<p>'; return 'made'; } catch { return 'refused'; } })();
  return [await seen, markup];
}, `${stranger}/bare`);
assert.deepEqual(confined, ['connect-src', 'refused']);
console.log('confined: no other origin asked, no markup made of texts');

assert.equal(await storage(), NOTHING);
const secrets = [...passwords, ...tokens.flatMap((told) => [told.access_token, told.id_token, told.refresh_token].filter(Boolean))];
assert.ok(passwords.length === 7 && secrets.length > 8);
for (const url of [page.url(), ...requests.map((request) => request.url())]) {
  for (const secret of secrets) assert.ok(!decodeURIComponent(url).includes(secret), url);
}
const { IDEMPOTENCY_KEYS } = await page.evaluate(() => import('/gateway.js'));
const keys = await Promise.all(requests.filter((request) => request.method() === 'POST' && request.url().startsWith(gateway))
  .map(async (request) => (await request.allHeaders())['idempotency-key']));
assert.equal(new Set(keys).size, IDEMPOTENCY_KEYS ? keys.length : 1);
console.log('forgotten: no password and no token in storage or in any URL');

// Cards that hold passwords are not left by mistake; then nothing of them is left.
await button('Sign out').click();
await page.getByText('You are signed out of this page.').waitFor();
assert.equal(asked, 1);
const left = await page.content();
for (const secret of secrets) assert.ok(!left.includes(secret));
await shot('signed-out');
await page.goto(`${origin}/`);
await button('Sign in').waitFor();
await page.goto(`${origin}/?code=stolen&state=forged`);
await page.getByText('This sign-in was not begun in this tab').waitFor();
assert.equal(page.url(), `${origin}/`);
console.log('signed out: nothing is left, and an answer that was not asked for is not taken');

// The same token, from two pages that differ in their origin alone.
const token = tokens.at(-1).access_token;
const reads = (headers, mode) => page.evaluate(async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return [answer.type, answer.status, await answer.text()];
  } catch (error) {
    return error.name;
  }
}, [`${gateway}/v1/whoami`, { headers, mode }]);
const bearer = { Authorization: `Bearer ${token}` };
await page.goto(`${origin}/bare`);
assert.deepEqual((await reads(bearer, 'cors')).slice(0, 2), ['cors', 200]);
await page.goto(`${stranger}/bare`);
assert.equal(await reads(bearer, 'cors'), 'TypeError');
assert.equal(await reads({}, 'cors'), 'TypeError');
assert.deepEqual(await reads({}, 'no-cors'), ['opaque', 0, '']);
console.log("a stranger's page: reads nothing");

await browser.close();
process.exit(0);
