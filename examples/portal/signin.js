// OpenID Connect: authorization code with PKCE (RFC 7636), for a public client. Tokens stay in this module's memory;
// what must outlive the way to the provider and back (state, nonce, verifier) lies in sessionStorage until then.

const PENDING = 'zengate-portal:sign-in';
/** A token that ends within this time is renewed before it is used. */
const MARGIN_MILLISECONDS = 30_000;

/** A sign-in that cannot go on; its message is for the user. */
export class SignInError extends Error {}

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** A URL that tokens may be sent to: https, or plain http on loopback. */
export function secureUrl(text, what) {
  const url = URL.parse(text);
  const loopback = url && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (!url || !(url.protocol === 'https:' || (url.protocol === 'http:' && loopback))) {
    throw new SignInError(`${what} must be an https URL, and is ${JSON.stringify(text)}.`);
  }
  return url;
}

async function json(url, options, what) {
  let answer;
  try {
    answer = await fetch(url, { credentials: 'omit', redirect: 'error', cache: 'no-store', ...options });
  } catch {
    throw new SignInError(`${what} cannot be reached, or does not let this page ask (CORS).`);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new SignInError(`${what} answered ${answer.status}: ${body.error_description ?? body.error ?? 'no reason'}.`);
  }
  return body;
}

export class SignIn {
  #config;
  #metadata;
  #redirect = location.origin + location.pathname;

  constructor(config) {
    this.#config = config;
  }

  /** The provider's metadata (OpenID Connect Discovery 1.0), which must be of the very issuer that was configured. */
  async #provider() {
    if (this.#metadata) return this.#metadata;
    const { issuer } = this.#config;
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const told = await json(url, {}, 'The identity provider');
    if (told.issuer !== issuer) throw new SignInError(`The identity provider calls itself ${told.issuer}, not ${issuer}.`);
    secureUrl(told.authorization_endpoint, 'The authorization endpoint');
    secureUrl(told.token_endpoint, 'The token endpoint');
    this.#metadata = told;
    return told;
  }

  /** Leaves for the provider. */
  async begin() {
    const { authorization_endpoint: endpoint } = await this.#provider();
    const pending = { state: random(), nonce: random(), verifier: random() };
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(pending.verifier));
    const url = new URL(endpoint);
    const { clientId, scope, resource } = this.#config;
    for (const [name, value] of Object.entries({
      response_type: 'code', client_id: clientId, redirect_uri: this.#redirect, scope: scope || 'openid',
      state: pending.state, nonce: pending.nonce,
      code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: 'S256',
      // RFC 8707: which API the access token is for, where the provider wants to know.
      ...(resource && { resource }),
    })) url.searchParams.set(name, value);
    sessionStorage.setItem(PENDING, JSON.stringify(pending));
    location.assign(url);
  }

  /** The session, if this page was called with an answer of the provider's; else null. */
  async finish() {
    const answer = new URLSearchParams(location.search);
    if (!answer.has('state')) return null;
    // Neither the history nor a bookmark keeps the code, and a reload does not try it again.
    history.replaceState(null, '', this.#redirect);
    const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null');
    sessionStorage.removeItem(PENDING);
    if (!pending || answer.get('state') !== pending.state) {
      throw new SignInError('This sign-in was not begun in this tab, or was begun anew since. Sign in again.');
    }
    const provider = await this.#provider();
    // RFC 9207: an answer of another provider's is not for this one's token endpoint.
    const from = answer.get('iss');
    if (from !== null ? from !== provider.issuer : provider.authorization_response_iss_parameter_supported) {
      throw new SignInError('The answer is of another identity provider. Sign in again.');
    }
    if (answer.has('error')) {
      throw new SignInError(`The identity provider says: ${answer.get('error_description') ?? answer.get('error')}.`);
    }
    const tokens = await this.#tokens({
      grant_type: 'authorization_code', code: answer.get('code') ?? '', redirect_uri: this.#redirect,
      code_verifier: pending.verifier,
    });
    this.#check(tokens.id_token, pending.nonce);
    return new Session(tokens, (refresh) => this.#tokens({ grant_type: 'refresh_token', refresh_token: refresh }));
  }

  async #tokens(form) {
    const { token_endpoint: endpoint } = await this.#provider();
    const { clientId, resource } = this.#config;
    const body = new URLSearchParams({ ...form, client_id: clientId, ...(resource && { resource }) });
    const tokens = await json(endpoint, { method: 'POST', body }, 'The identity provider');
    if (!tokens.access_token || tokens.token_type?.toLowerCase() !== 'bearer') {
      throw new SignInError('The identity provider gave no access token of type Bearer.');
    }
    return tokens;
  }

  /**
   * That the ID token is for this page and this sign-in. It comes from the token endpoint itself over TLS, which stands
   * for its signature (OpenID Connect Core 1.0, section 3.1.3.7, 6). The gateway verifies the access token in full.
   */
  #check(token, nonce) {
    let claims;
    try {
      const part = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
      claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
    } catch {
      throw new SignInError('The identity provider gave no ID token.');
    }
    const audience = [claims.aud].flat();
    const forUs = audience.includes(this.#config.clientId)
      && (audience.length === 1 || claims.azp === this.#config.clientId);
    if (claims.iss !== this.#config.issuer || !forUs || claims.nonce !== nonce || !(claims.exp * 1000 > Date.now() - 60_000)) {
      throw new SignInError('The ID token is not of this sign-in. Sign in again.');
    }
  }
}

/** A user's access token, renewed where the provider lets us. */
class Session {
  #tokens;
  #ends;
  #renew;
  #renewing = null;

  constructor(tokens, renew) {
    this.#renew = renew;
    this.#take(tokens);
  }

  #take(tokens) {
    this.#tokens = { ...this.#tokens, ...tokens };
    this.#ends = Date.now() + (tokens.expires_in ?? Infinity) * 1000;
  }

  /** The token to send. One that cannot be renewed is sent as long as it lasts, and the gateway says when it is over. */
  async token() {
    const refresh = this.#tokens.refresh_token;
    if (refresh && Date.now() > this.#ends - MARGIN_MILLISECONDS) {
      // A refresh token is often good for one use: calls at the same time share it.
      this.#renewing ??= this.#renew(refresh)
        .then((tokens) => this.#take(tokens))
        .finally(() => { this.#renewing = null; });
      await this.#renewing.catch(() => {});
    }
    return this.#tokens.access_token;
  }
}
