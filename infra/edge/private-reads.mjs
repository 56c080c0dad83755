// Private reads at a CDN: a sample for edges that run JavaScript with Web Crypto (Lambda@Edge, workers of other CDNs, Node 20).
//
// Owns: who may read, for the next minute. Does not own: what a token is, which the registry alone says.
//
// A request with a token is let through if the registry says so at `/api/v1/registry/access`. The answer is kept for `validS` seconds:
// in this process, for clients that send their token each time (cargo, drystone); and as a signed cookie, or as the signature in a
// URL, for those that cannot send it. So files come from the CDN's cache, and a token that is revoked reads for `validS` seconds
// at most: choose it. Invariants: nothing is signed without a yes of the registry; a signature says until when, and for which paths;
// it is compared in constant time, by the platform; what must not be cached at the edge (`/api/`) goes to the registry untouched.

const COOKIE = "__Host-drystone-read";
const encoder = new TextEncoder();

function base64url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function fromBase64url(text) {
  if (!/^[A-Za-z0-9_-]{43}$/.test(text)) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

async function hmacKey(secret) {
  if (secret.length < 32) throw new Error("the secret has fewer than 32 characters");
  return crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

// What is signed. The length before the path keeps two texts from being one.
function statement(expires, prefix) {
  return encoder.encode(`drystone.read/v1\n${expires}\n${prefix.length}\n${prefix}\n`);
}

// A pass for every path that begins with `prefix`, until `expires` (seconds since 1970): `<expires>.<signature>`.
export async function signPass(secret, expires, prefix) {
  const signature = await crypto.subtle.sign("HMAC", await hmacKey(secret), statement(expires, prefix));
  return `${expires}.${base64url(signature)}`;
}

// Whether a pass is good for this prefix now.
export async function verifyPass(secret, pass, prefix, nowS) {
  const [expires, text, ...more] = String(pass).split(".");
  if (more.length > 0 || !/^[1-9][0-9]{0,11}$/.test(expires) || Number(expires) <= nowS) return false;
  const signature = fromBase64url(text ?? "");
  if (signature === null) return false;
  return crypto.subtle.verify("HMAC", await hmacKey(secret), signature, statement(Number(expires), prefix));
}

// A URL that reads one file without a token, such as the archive of a release.
export async function signUrl(secret, url, expires) {
  const signed = new URL(url);
  signed.searchParams.set("read", await signPass(secret, expires, signed.pathname));
  return signed.toString();
}

function cookieOf(headers) {
  for (const part of (headers.get("cookie") ?? "").split(";")) {
    const text = part.trim();
    if (text.startsWith(`${COOKIE}=`)) return text.slice(COOKIE.length + 1);
  }
  return null;
}

function refusal(status, text, challenge) {
  const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  if (challenge) headers["www-authenticate"] = challenge;
  return new Response(`${text}\n`, { status, headers });
}

// An edge, as a function from requests to answers. `registry` is the URL of the registry's API; `fetchFile` reads a path of the public
// area from cache or bucket, with a right of the edge's own; `validS` is for how long a yes of the registry counts.
export function edge({ registry, secret, validS, fetchFile, fetchRegistry = fetch, nowS = () => Math.floor(Date.now() / 1000) }) {
  // Digests of tokens that the registry let read, and until when that counts here. Never the tokens.
  const allowed = new Map();

  async function mayRead(token) {
    const digest = base64url(await crypto.subtle.digest("SHA-256", encoder.encode(token)));
    if ((allowed.get(digest) ?? 0) > nowS()) return { ok: true };
    const answer = await fetchRegistry(`${registry}/api/v1/registry/access`, { headers: { authorization: token } });
    if (answer.status !== 204) return { ok: false, status: answer.status, challenge: answer.headers.get("www-authenticate") };
    if (allowed.size >= 10000) allowed.clear();
    allowed.set(digest, nowS() + validS);
    return { ok: true };
  }

  return async function handle(request) {
    const url = new URL(request.url);
    if (/^\/(api|device)\//.test(url.pathname) || ["/me", "/device", "/healthz", "/readyz"].includes(url.pathname)) {
      return fetchRegistry(`${registry}${url.pathname}${url.search}`, request);
    }
    if (request.method !== "GET" && request.method !== "HEAD") return refusal(405, "only reads");
    const file = async (cookie) => {
      const found = await fetchFile(url.pathname, request);
      const answer = new Response(found.body, found);
      // The edge keeps the file; nobody behind it does, and the token says nothing about which file it is.
      answer.headers.set("cache-control", "private, no-store");
      if (cookie) answer.headers.append("set-cookie", cookie);
      return answer;
    };
    const pass = url.searchParams.get("read");
    if (pass !== null && (await verifyPass(secret, pass, url.pathname, nowS()))) return file();
    const kept = cookieOf(request.headers);
    if (kept !== null && (await verifyPass(secret, kept, "/", nowS()))) return file();
    const token = request.headers.get("authorization");
    if (token === null) {
      return refusal(401, "this registry is read with a token", `Cargo login_url="${registry}/me", Bearer`);
    }
    const verdict = await mayRead(token);
    if (!verdict.ok) return refusal(verdict.status === 401 ? 401 : 503, "the registry does not take this token", verdict.challenge);
    const fresh = await signPass(secret, nowS() + validS, "/");
    return file(`${COOKIE}=${fresh}; Path=/; Max-Age=${validS}; Secure; HttpOnly; SameSite=Strict`);
  };
}
