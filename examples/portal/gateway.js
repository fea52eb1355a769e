// The gateway's API, as docs/api.md has it.

/** Whether each POST carries an `Idempotency-Key`. Only for a gateway that takes it: others answer 400. */
export const IDEMPOTENCY_KEYS = true;

/** The gateway, or a proxy before it, refused: `problem` is RFC 9457's body, `retryAfter` seconds or null. */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail);
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** No answer came. What was asked for may have happened all the same. */
export class NoAnswer extends Error {}

export class Gateway {
  #url;
  #session;
  /** The team to act for; only said where the token names several. */
  team = null;

  constructor(url, session) {
    this.#url = url;
    this.#session = session;
  }

  whoami() {
    return this.#get('/v1/whoami');
  }

  instances(query) {
    return this.#get('/v1/instances', query);
  }

  history(query) {
    return this.#get('/v1/password-resets', query);
  }

  /** What `resetMany` began, as the team that it was begun for. */
  read({ path, team }) {
    return this.#get(path, { team });
  }

  async reset(instance, body) {
    const answer = await this.#call('POST', `/v1/instances/${encodeURIComponent(instance)}/password-resets`, {}, body);
    return answer.json;
  }

  /** Returns at once: what became of it so far, and where it is read. */
  async resetMany(body) {
    const { team } = this;
    const { json, headers } = await this.#call('POST', '/v1/password-resets', {}, body, { Prefer: 'respond-async' });
    return { batch: json, place: { path: headers.get('location'), team } };
  }

  async #get(path, query = {}) {
    return (await this.#call('GET', path, query)).json;
  }

  async #call(method, path, query, body, more = {}) {
    const url = new URL(path, this.#url);
    // The token goes to the gateway alone, whatever a path says.
    if (url.origin !== this.#url.origin) throw new NoAnswer('The gateway named a path elsewhere.');
    for (const [name, value] of Object.entries({ team: this.team, ...query })) {
      if (value) url.searchParams.set(name, value);
    }
    const headers = { Accept: 'application/json', Authorization: `Bearer ${await this.#session.token()}`, ...more };
    if (body) headers['Content-Type'] = 'application/json';
    if (body && IDEMPOTENCY_KEYS) headers['Idempotency-Key'] = crypto.randomUUID();
    let answer;
    let json;
    try {
      answer = await fetch(url, {
        method, headers, body: body && JSON.stringify(body),
        credentials: 'omit', cache: 'no-store', redirect: 'error', referrerPolicy: 'no-referrer',
      });
      json = await answer.json();
    } catch {
      throw new NoAnswer('No answer of the gateway came that this page may read.');
    }
    if (!answer.ok) throw new Refused(answer.status, json, Number(answer.headers.get('retry-after')) || null);
    return { json, headers: answer.headers };
  }
}
