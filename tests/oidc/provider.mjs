// A real OpenID provider (panva's oidc-provider) for tests/scenarios/jwt_oidc.py: one client, one user, everything in memory.
// node provider.mjs PORT REDIRECT_URI
import { Provider } from "oidc-provider";

const [port, redirect] = process.argv.slice(2);
const people = { alice: { groups: ["dev", "ops"], mail: "alice@example.test" }, mallory: { groups: [], mail: "mallory@example.test" } };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "strongroom",
      client_secret: "s+c/ret with blanks",
      redirect_uris: [redirect],
      response_types: ["code"],
      grant_types: ["authorization_code"],
    },
  ],
  claims: { openid: ["sub"], profile: ["groups", "mail"] },
  pkce: { methods: ["S256"], required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
