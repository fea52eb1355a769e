// Passwords sealed to a key of this page's: compact JWE (RFC 7516), RSA-OAEP-256 and A256GCM, opened by WebCrypto.

const RSA = { name: 'RSA-OAEP', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
const ALG = 'RSA-OAEP-256';
const ENC = 'A256GCM';

function bytes(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
}

/** One key for one batch. Its private half cannot leave WebCrypto, and is gone with the page. */
export class RecipientKey {
  #private;
  #kid = crypto.randomUUID();
  #public;

  static async make() {
    const made = new RecipientKey();
    // Not extractable: that binds the private half, a public one can always be exported.
    const { privateKey, publicKey } = await crypto.subtle.generateKey(RSA, false, ['encrypt', 'decrypt']);
    made.#private = privateKey;
    made.#public = await crypto.subtle.exportKey('jwk', publicKey);
    return made;
  }

  /** What goes to the gateway as `recipientKey`. */
  get jwk() {
    const { kty, n, e } = this.#public;
    return { kty, n, e, use: 'enc', alg: ALG, kid: this.#kid };
  }

  async open(jwe) {
    const parts = jwe.split('.');
    const [header, wrapped, nonce, text, tag] = parts;
    const { alg, enc, kid } = JSON.parse(new TextDecoder().decode(bytes(header)));
    // Ours to say, not the message's.
    if (parts.length !== 5 || alg !== ALG || enc !== ENC || kid !== this.#kid) throw new Error('Not sealed to this key.');
    const content = await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, this.#private, bytes(wrapped));
    const key = await crypto.subtle.importKey('raw', content, 'AES-GCM', false, ['decrypt']);
    const gcm = { name: 'AES-GCM', iv: bytes(nonce), additionalData: new TextEncoder().encode(header), tagLength: 128 };
    const sealed = new Uint8Array([...bytes(text), ...bytes(tag)]);
    return new TextDecoder().decode(await crypto.subtle.decrypt(gcm, key, sealed));
  }
}
