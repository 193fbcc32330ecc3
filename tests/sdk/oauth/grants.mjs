// Every grant of the token service with oauth4webapi, which refuses what is not to the letter of the
// standards, and every token with jose, which knows the server by its key set only.
//
// Reads one JSON object from standard input. Where a person is needed it writes a line
// {"visit": url, "by": "code" | "device"} and waits; at the end it writes {"done": [names]}.

import { createServer } from "node:http";
import { createRemoteJWKSet, importJWK, jwtVerify } from "jose";
import * as oauth from "oauth4webapi";

const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";
const input = JSON.parse(await read(process.stdin));
const done = [];

async function read(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return text;
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const issuer = new URL(input.issuer);
const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2" }),
);
const keys = createRemoteJWKSet(new URL(as.jwks_uri));

/** Check an access token twice: as a resource server of RFC 9068, and with another library. */
async function check(answer, { client, sub }) {
  const request = new Request(`${input.issuer}/resource`, {
    headers: { authorization: `Bearer ${answer.access_token}` },
  });
  const claims = await oauth.validateJwtAccessToken(as, request, input.audience);
  const { payload, protectedHeader } = await jwtVerify(answer.access_token, keys, {
    issuer: input.issuer,
    audience: input.audience,
    typ: "at+jwt",
    algorithms: ["ES256"],
  });
  for (const said of [claims, payload]) {
    if (said.client_id !== client.client_id || said.sub !== sub) throw new Error("whose token?");
  }
  if (!protectedHeader.kid) throw new Error("no kid");
  return payload;
}

async function introspect(token) {
  const client = { client_id: "basic" };
  const proof = oauth.ClientSecretBasic(input.secrets.basic);
  const answer = await oauth.introspectionRequest(as, client, proof, token);
  return oauth.processIntrospectionResponse(as, client, answer);
}

async function revoke(client, proof, token) {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, proof, token));
}

/** Refresh twice, ask about the tokens, revoke, and see that nothing is left. */
async function live(client, proof, first, sub) {
  let answer = first;
  for (const _ of [1, 2]) {
    const refreshed = await oauth.refreshTokenGrantRequest(as, client, proof, answer.refresh_token);
    answer = await oauth.processRefreshTokenResponse(as, client, refreshed);
    await check(answer, { client, sub });
  }
  const known = await introspect(answer.access_token);
  if (!known.active || known.sub !== sub) throw new Error("introspection does not know the token");
  await revoke(client, proof, answer.refresh_token);
  for (const token of [answer.access_token, answer.refresh_token]) {
    if ((await introspect(token)).active) throw new Error("revoked, and active");
  }
}

async function clientCredentials() {
  const { privateJwk } = input;
  const key = { key: await importJWK(privateJwk, "ES256"), kid: privateJwk.kid };
  const proofs = {
    basic: oauth.ClientSecretBasic(input.secrets.basic),
    post: oauth.ClientSecretPost(input.secrets.post),
    signer: oauth.PrivateKeyJwt(key),
  };
  for (const [id, proof] of Object.entries(proofs)) {
    const client = { client_id: id };
    const answer = await oauth.processClientCredentialsResponse(
      as,
      client,
      await oauth.clientCredentialsGrantRequest(as, client, proof, {}),
    );
    if (answer.refresh_token !== undefined) throw new Error("a refresh token for a service");
    await check(answer, { client, sub: `client:${id}` });
    if (!(await introspect(answer.access_token)).active) throw new Error("a good token, inactive");
    await revoke(client, proof, answer.access_token);
    if ((await introspect(answer.access_token)).active) throw new Error("revoked, and active");
    done.push(`client_credentials ${id}`);
  }
}

async function password() {
  const client = { client_id: "cli" };
  const proof = oauth.None();
  const answer = await oauth.processGenericTokenEndpointResponse(
    as,
    client,
    await oauth.genericTokenEndpointRequest(as, client, proof, "password", {
      username: input.username,
      password: input.password,
    }),
  );
  await check(answer, { client, sub: input.sub });
  await live(client, proof, answer, input.sub);
  done.push("password", "refresh_token", "revocation", "introspection");
}

/** Listen on a port that is free, as a program on a desktop does, for the browser to come back. */
async function callback() {
  let arrived;
  const arrival = new Promise((resolve) => (arrived = resolve));
  const server = createServer((request, answer) => {
    answer.writeHead(200, { "content-type": "text/plain", connection: "close" }).end("Welcome back");
    if (request.url.startsWith("/cb")) arrived(new URL(request.url, `http://${request.headers.host}`));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, arrival, uri: `http://127.0.0.1:${server.address().port}/cb` };
}

async function code() {
  const client = { client_id: "cli" };
  const proof = oauth.None();
  const { server, arrival, uri } = await callback();
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: uri,
    response_type: "code",
    scope: "connect",
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  say({ visit: url.href, by: "code" });
  const parameters = oauth.validateAuthResponse(as, client, await arrival, state);
  server.close();
  const exchange = () =>
    oauth.authorizationCodeGrantRequest(as, client, proof, parameters, uri, verifier);
  const answer = await oauth.processAuthorizationCodeResponse(as, client, await exchange());
  await check(answer, { client, sub: input.sub });
  await live(client, proof, answer, input.sub);
  if ((await exchange()).status !== 400) throw new Error("a code, twice");
  done.push("authorization_code");
}

async function device() {
  const client = { client_id: "cli" };
  const proof = oauth.None();
  const codes = await oauth.processDeviceAuthorizationResponse(
    as,
    client,
    await oauth.deviceAuthorizationRequest(as, client, proof, { scope: "connect" }),
  );
  say({ visit: codes.verification_uri_complete, by: "device" });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, codes.interval * 1000));
    const polled = await oauth.deviceCodeGrantRequest(as, client, proof, codes.device_code);
    try {
      const answer = await oauth.processDeviceCodeResponse(as, client, polled);
      await check(answer, { client, sub: input.sub });
      await live(client, proof, answer, input.sub);
      done.push(DEVICE);
      return;
    } catch (error) {
      if (error.error !== "authorization_pending") throw error;
    }
  }
}

await clientCredentials();
await password();
await code();
await device();
say({ done });
