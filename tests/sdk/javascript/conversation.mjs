// A conversation of alice and bob, with the official SDK as anybody would use it.
//
// In Node this is the program: it reads its input as JSON from stdin and writes what was seen to
// stdout. In a browser the page calls `converse` with the SDK's own bundle.

const ROOM = "room:js";

// The SDK reports everything by events; this is the next one of a kind.
const next = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

// What the SDK for Protobuf hands out and takes is bytes, which are JSON here.
const asBytes = {
  pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
  unpack: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
};
const asIs = { pack: (value) => value, unpack: (value) => value };

class Person {
  constructor({ Centrifuge, payload }, url, options) {
    this.client = new Centrifuge(url, options);
    this.payload = payload;
    this.seen = [];
    this.inbox = [];
    this.errors = [];
    this.client.on("error", ({ error }) => this.errors.push(error));
    this.client.on("publication", ({ channel, data, info }) =>
      this.inbox.push({ channel, data: payload.unpack(data), ...this.sender(info) }),
    );
  }

  sender({ user, connInfo }) {
    return { user, name: this.payload.unpack(connInfo).name };
  }

  async arrive(expected) {
    const connected = next(this.client, "connected");
    this.client.connect();
    this.transport = (await connected).transport;

    const room = this.client.newSubscription(ROOM);
    room.on("error", ({ error }) => this.errors.push(error));
    this.complete = new Promise((resolve) => {
      room.on("publication", ({ data, info }) => {
        this.seen.push({ number: this.payload.unpack(data).number, ...this.sender(info) });
        if (this.seen.length === expected) resolve();
      });
    });
    const subscribed = next(room, "subscribed");
    room.subscribe();
    await subscribed;
    this.room = room;
  }

  async talk(messages) {
    for (let number = 0; number < messages; number += 1) {
      await this.room.publish(this.payload.pack({ number }));
    }
  }

  async leave() {
    const disconnected = next(this.client, "disconnected");
    this.client.disconnect();
    this.farewell = (await disconnected).code;
  }

  get report() {
    const { transport, seen, inbox, errors, farewell } = this;
    return { transport, seen, inbox, errors, farewell };
  }
}

async function converse(sdks, { url, tokens, bob: bobId, messages }, options = {}) {
  const alice = new Person(sdks.alice, url, { ...options, token: tokens.alice });
  const bob = new Person(sdks.bob, url, { ...options, token: tokens.bob });
  const { pack, unpack } = alice.payload;
  await Promise.all([alice.arrive(2 * messages), bob.arrive(2 * messages)]);

  await Promise.all([alice.talk(messages), bob.talk(messages)]);
  await Promise.all([alice.complete, bob.complete]);

  const received = next(bob.client, "publication");
  await alice.client.publish(`dm:#${bobId}`, pack({ text: "psst" }));
  await received;

  const refusal = await alice.client.publish("dm:#nobody", pack({ text: "psst" })).then(
    () => null,
    ({ code, message }) => ({ code, message }),
  );
  const echo = unpack((await alice.client.rpc("echo", pack({ text: "hello" }))).data);

  await Promise.all([alice.leave(), bob.leave()]);
  return { alice: alice.report, bob: bob.report, refusal, echo };
}

globalThis.converse = (Centrifuge, input) => {
  const sdk = { Centrifuge, payload: asIs };
  return converse({ alice: sdk, bob: sdk }, input);
};

if (globalThis.process) {
  const { readFileSync } = await import("node:fs");
  const json = await import("centrifuge");
  const protobuf = await import("centrifuge/build/protobuf");
  const { WebSocket } = await import("ws");
  const sdks = {
    json: { Centrifuge: json.Centrifuge, payload: asIs },
    protobuf: { Centrifuge: protobuf.Centrifuge, payload: asBytes },
  };
  const { encodings, ...input } = JSON.parse(readFileSync(0, "utf8"));
  const spoken = { alice: sdks[encodings.alice], bob: sdks[encodings.bob] };
  console.log(JSON.stringify(await converse(spoken, input, { websocket: WebSocket })));
}
