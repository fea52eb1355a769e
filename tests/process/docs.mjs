// Opens /docs in Chromium, calls the gateway from it, and says what the browser asked for. Exits 1 at the first thing that is
// otherwise than it should be, or after 60 s.
//
//   node docs.mjs MODULES CHROMIUM GATEWAY TOKEN
import assert from 'node:assert/strict';

import { launched } from './browser.mjs';

setTimeout(() => { console.error('docs.mjs: not done within 60 s'); process.exit(1); }, 60_000).unref();

const [modules, executablePath, gateway, token] = process.argv.slice(2);
const browser = await launched(modules, executablePath);
const context = await browser.newContext();
context.setDefaultTimeout(20_000);
const [requests, answers, complaints] = [[], [], []];
context.on('request', (request) => requests.push(request.url()));
context.on('response', (response) => answers.push(response));
// Nothing beyond this machine, whatever the page wants.
await context.route((url) => url.origin !== gateway, (route) => route.abort());
const page = await context.newPage();
page.on('pageerror', (error) => complaints.push(String(error)));
page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });

await page.goto(`${gateway}/docs`);
await page.locator('#operations-caller-whoami').waitFor();
await page.locator('button.authorize').first().click();
await page.locator('.auth-container input').fill(token);
await page.locator('.auth-container button[type=submit]').click();
await page.locator('.auth-btn-wrapper .btn-done').click();
await page.locator('#operations-caller-whoami .opblock-summary-control').click();
await page.locator('#operations-caller-whoami button.execute').click();
const told = page.locator('#operations-caller-whoami .live-responses-table');
await told.waitFor();
assert.ok((await told.innerText()).includes('"subject": "alice"'), await told.innerText());
console.log('tried: /v1/whoami, with a token');

const named = requests.filter((url) => !url.startsWith('data:'));
assert.ok(named.length >= 6 && named.some((url) => url.startsWith(`${gateway}/v1/whoami`)), named.join('\n'));
for (const url of named) assert.equal(new URL(url).origin, gateway, url);
assert.deepEqual(complaints, []);
console.log('asked: the gateway alone');

for (const answer of answers.filter((one) => one.url().startsWith(gateway))) {
  const headers = await answer.allHeaders();
  assert.equal(headers['set-cookie'], undefined, answer.url());
  assert.equal(headers['x-content-type-options'], 'nosniff', answer.url());
  if (!answer.url().includes('/docs/')) continue;
  const policy = headers['content-security-policy'];
  for (const part of ["default-src 'self'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"]) {
    assert.ok(policy.includes(part), `${part} in ${policy} of ${answer.url()}`);
  }
  assert.ok(!policy.includes('unsafe-eval') && !/script-src/.test(policy), policy);
  assert.equal(headers['referrer-policy'], 'no-referrer', answer.url());
}
const kept = await page.evaluate(async () => [document.cookie, localStorage.length, sessionStorage.length]);
assert.deepEqual(kept, ['', 0, 0]);
assert.deepEqual(await context.cookies(), []);
console.log('kept: no cookie, no storage');

// The browser keeps it in: nothing can be sent elsewhere, and no page can frame it.
const confined = await page.evaluate(async () => {
  const seen = new Promise((done) => { document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective)); });
  await fetch('http://127.0.0.1:1/elsewhere').catch(() => {});
  return seen;
});
assert.equal(confined, 'connect-src');
const framer = await context.newPage();
await framer.setContent(`<iframe src="${gateway}/docs/index.html"></iframe>`);
await framer.waitForTimeout(1000);
const framed = framer.frames()[1];
assert.ok(!framed || !framed.url().startsWith(gateway) || (await framed.locator('#swagger-ui').count()) === 0);
console.log('confined: nothing goes elsewhere, nobody frames it');
await browser.close();
