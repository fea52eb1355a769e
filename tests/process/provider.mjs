// A real OpenID provider (oidc-provider) on loopback: client credentials, discovery, and key rotation by
// `POST /_test/keys` with the ids to publish, the signing ones first. Its keys last in a file over a restart. With a
// redirect URI also people: anybody who comes signs in, from a page there, by authorization code with PKCE.
//
//   node provider.mjs MODULES PORT KEYS_FILE READY_FILE [REDIRECT_URI]
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [modules, port, keysFile, readyFile, redirect] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

function generate() {
  const key = (kid, alg, ...how) => ({ ...generateKeyPairSync(...how).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' });
  const rsa = (kid) => key(kid, 'RS256', 'rsa', { modulusLength: 2048 });
  const ec = (kid) => key(kid, 'ES256', 'ec', { namedCurve: 'P-256' });
  return { rsa1: rsa('rsa1'), rsa2: rsa('rsa2'), ec1: ec('ec1'), ec2: ec('ec2') };
}
if (!existsSync(keysFile)) writeFileSync(keysFile, JSON.stringify({ keys: generate(), published: ['rsa1', 'ec1'] }));
const state = JSON.parse(readFileSync(keysFile));

const server = createServer();
await new Promise((listening) => server.listen(Number(port), '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const page = {
  client_id: 'page', token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'], redirect_uris: [redirect],
};

function provider() {
  const made = new Provider(issuer, {
    jwks: { keys: state.published.map((kid) => state.keys[kid]) },
    clients: [{
      client_id: 'portal', client_secret: 'a-secret-of-the-test', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [],
    }, ...(redirect ? [page] : [])],
    clientBasedCORS: (context, origin, client) => client.clientId === 'page' && origin === new URL(redirect).origin,
    findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    issueRefreshToken: (context, client) => client.grantTypeAllowed('refresh_token'),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: Boolean(redirect) },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          scope: '', audience: 'zengate', accessTokenFormat: 'jwt',
          accessTokenTTL: resource.includes(':brief:') ? 32 : 600,
          jwt: { sign: { alg: resource.split(':').at(-1) } },
        }),
      },
    },
    extraTokenClaims: (context, token) => ({ teams: token.accountId ? ['payments', 'web'] : ['payments'] }),
  });
  return made.callback();
}

let serve = provider();
server.on('request', (request, response) => {
  if (request.url !== '/_test/keys') return serve(request, response);
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    state.published = JSON.parse(body);
    writeFileSync(keysFile, JSON.stringify(state));
    serve = provider();
    response.end('{}');
  });
});
writeFileSync(`${readyFile}.part`, JSON.stringify({ issuer, pid: process.pid }));
renameSync(`${readyFile}.part`, readyFile);
