// Checks the sample in front of a registry with private reads: `node check.mjs REGISTRY TOKEN`. It revokes the token. Run by the tests.
import assert from "node:assert/strict";
import { edge, signPass, signUrl, verifyPass } from "./private-reads.mjs";

const [registry, token] = process.argv.slice(2);
const secret = "a secret of the edges, 32 characters or more";
let now = 1_760_000_000;
let asked = 0;
const handle = edge({
  registry,
  secret,
  validS: 60,
  nowS: () => now,
  // The public area: here it is the registry's own, read as an edge with a right of its own would.
  fetchFile: (path) => fetch(`${registry}${path}`, { headers: { authorization: token } }),
  fetchRegistry: (url, init) => {
    asked += 1;
    return fetch(url, { method: init?.method, headers: init?.headers });
  },
});
const get = (path, headers = {}) => handle(new Request(`https://cdn.example${path}`, { headers }));

// Without a right there is nothing, and cargo learns where tokens come from.
const nobody = await get("/config.json");
assert.equal(nobody.status, 401);
assert.match(nobody.headers.get("www-authenticate"), /^Cargo login_url=/);
assert.equal((await get("/config.json", { authorization: "dry_pat_invented" })).status, 401);
assert.equal((await get("/api/v1/registry/config")).status, 401, "the registry answers for itself");

// With a token there is the file, and a cookie that reads by itself; the registry is asked once a minute.
asked = 0;
const first = await get("/config.json", { authorization: token });
assert.equal(first.status, 200);
assert.equal(first.headers.get("cache-control"), "private, no-store");
assert.match(await first.text(), /"origin"/);
assert.equal((await get("/config.json", { authorization: token })).status, 200);
assert.equal(asked, 1);
const cookie = first.headers.get("set-cookie").split(";")[0];
assert.match(first.headers.get("set-cookie"), /; Path=\/; Max-Age=60; Secure; HttpOnly; SameSite=Strict$/);
assert.equal((await get("/index/config.json", { cookie })).status, 200);
assert.equal((await get("/log/checkpoint", { cookie: `a=b; ${cookie}` })).status, 200);
assert.equal((await get("/no/such/file", { cookie })).status, 404);
assert.equal(asked, 1);

// A signature is for one secret, one time and one path, and for nothing that looks like it.
const url = await signUrl(secret, "https://cdn.example/config.json", now + 60);
const signed = new URL(url);
assert.equal((await get(signed.pathname + signed.search)).status, 200);
assert.equal((await get(`/log/checkpoint${signed.search}`)).status, 401);
const pass = await signPass(secret, now + 60, "/");
const [expires, signature] = pass.split(".");
for (const bad of [
  "", ".", "x", `${expires}.`, `${expires}.${signature}.`, `${Number(expires) + 1}.${signature}`, `0${pass}`, `+${pass}`,
  `${expires}.${signature.slice(0, -2)}AA`, `${expires}.${signature}=`, await signPass(`another ${secret}`, now + 60, "/"),
  await signPass(secret, now + 60, "/log"), await signPass(secret, now, "/"),
]) {
  assert.equal(await verifyPass(secret, bad, "/", now), false, bad);
  assert.equal((await get("/config.json", { cookie: `__Host-drystone-read=${bad}` })).status, 401, bad);
}
assert.equal(await verifyPass(secret, pass, "/", now), true);
await assert.rejects(signPass("short", now, "/"));
assert.equal((await handle(new Request("https://cdn.example/config.json", { method: "DELETE" }))).status, 405);

// A token that is revoked reads for a minute more at the edge, and no longer.
const files = edge({
  registry, secret, validS: 60, nowS: () => now,
  fetchFile: async () => new Response("a file of the bucket"),
});
const read = () => files(new Request("https://cdn.example/o/00", { headers: { authorization: token } }));
assert.equal((await read()).status, 200);
const revoked = await fetch(`${registry}/api/v1/auth/logout`, { method: "POST", headers: { authorization: token } });
assert.equal(revoked.status, 200);
now += 59;
assert.equal((await read()).status, 200);
now += 1;
assert.equal((await read()).status, 401);
assert.equal((await get("/config.json", { cookie })).status, 401);
console.log("fine");
