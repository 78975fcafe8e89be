// The main jobs with node-vault: secrets, policies, logins, wrapping, transit, and errors as it reads them.
import assert from "node:assert/strict";
import vault from "node-vault";

const { ADDR: endpoint, TOKEN: token } = process.env;
const root = vault({ apiVersion: "v1", endpoint, token });

const refused = async (promise, status, words) => {
  const error = await promise.then(
    () => assert.fail(`was allowed: ${words}`),
    (e) => e,
  );
  assert.equal(error.response?.statusCode, status, String(error));
  assert.match(error.message, words);
};

const state = await root.health();
assert.equal(state.sealed, false);
assert.equal((await root.status()).sealed, false);
assert.equal((await root.initialized()).initialized, true);

await root.mount({ mount_point: "secret", type: "kv", options: { version: "2" } });
assert.ok((await root.mounts()).data["secret/"]);
const made = await root.write("secret/data/app/db", { data: { user: "ann", n: 5 }, options: { cas: 0 } });
assert.equal(made.data.version, 1);
assert.deepEqual((await root.read("secret/data/app/db")).data.data, { user: "ann", n: 5 });
await root.update("secret/data/app/db", { data: { user: "bob" } });
assert.equal((await root.read("secret/data/app/db?version=1")).data.data.user, "ann");
assert.deepEqual((await root.list("secret/metadata/app")).data.keys, ["db"]);
await refused(root.write("secret/data/app/db", { data: {}, options: { cas: 1 } }), 400, /check-and-set parameter did not match/);
await refused(root.read("secret/data/none"), 404, /404/);
await root.delete("secret/data/app/db");
await refused(root.read("secret/data/app/db"), 404, /404/);

await root.addPolicy({ name: "app", rules: 'path "secret/data/app/*" { capabilities = ["read"] }' });
assert.ok((await root.policies()).policies.includes("app"));
assert.match((await root.getPolicy({ name: "app" })).rules, /secret\/data\/app/);
await root.write("secret/data/app/db", { data: { user: "eve" } });

await root.enableAuth({ mount_point: "approle", type: "approle" });
await root.addApproleRole({ role_name: "job", policies: "app", token_ttl: 3600 });
const { data: role } = await root.getApproleRoleId({ role_name: "job" });
const { data: secret } = await root.getApproleRoleSecret({ role_name: "job" });
const app = vault({ endpoint });
const login = await app.approleLogin({ role_id: role.role_id, secret_id: secret.secret_id });
assert.deepEqual(login.auth.policies, ["app", "default"]);
assert.equal(app.token, login.auth.client_token);
assert.equal((await app.read("secret/data/app/db")).data.data.user, "eve");
await refused(app.write("secret/data/app/db", { data: {} }), 403, /permission denied/);
await refused(vault({ endpoint }).approleLogin({ role_id: role.role_id, secret_id: "wrong" }), 400, /invalid/);

await root.enableAuth({ mount_point: "userpass", type: "userpass" });
await root.write("auth/userpass/users/ann", { password: "pw", token_policies: "app" });
const ann = vault({ endpoint });
await ann.userpassLogin({ username: "ann", password: "pw" });
assert.equal((await ann.tokenLookupSelf()).data.display_name, "userpass-ann");
await ann.tokenRenewSelf();
await ann.tokenRevokeSelf();
await refused(ann.tokenLookupSelf(), 403, /permission denied/);

// tokenCreate makes the new token the client's own.
const child = await vault({ endpoint, token }).tokenCreate({ policies: ["app"], ttl: "30m", meta: { by: "node" } });
assert.equal(child.auth.lease_duration, 1800);
await root.tokenRevoke({ token: child.auth.client_token });

const wrapped = await root.write("sys/wrapping/wrap", { a: "b" }, { headers: { "X-Vault-Wrap-TTL": "60s" } });
const unwrapped = await vault({ endpoint, token: wrapped.wrap_info.token }).unwrap();
assert.deepEqual(unwrapped.data, { a: "b" });
await refused(vault({ endpoint, token: wrapped.wrap_info.token }).unwrap(), 400, /wrapping token is not valid or does not exist/);

await root.mount({ mount_point: "transit", type: "transit" });
await root.write("transit/keys/k", {});
const plaintext = Buffer.from("hello").toString("base64");
const { data: sealed } = await root.encryptData({ name: "k", plaintext });
assert.match(sealed.ciphertext, /^vault:v1:/);
assert.equal((await root.decryptData({ name: "k", ciphertext: sealed.ciphertext })).data.plaintext, plaintext);

await root.unmount({ mount_point: "transit" });
await refused(root.read("transit/keys/k"), 404, /no handler for route/);
console.log("node-vault: all as expected");
