// A conversation of alice and bob, with the official SDK as anybody would use it.
//
// In Node this is the program: it reads its input as JSON from stdin and writes what was seen to
// stdout. In a browser the page calls `converse` with the SDK's own bundle.

const ROOM = "room:js";

// The SDK reports everything by events; this is the next one of a kind.
const next = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

class Person {
  constructor(Centrifuge, url, options) {
    this.client = new Centrifuge(url, options);
    this.seen = [];
    this.inbox = [];
    this.errors = [];
    this.client.on("error", ({ error }) => this.errors.push(error));
    this.client.on("publication", ({ channel, data, info }) =>
      this.inbox.push({ channel, data, user: info.user, name: info.connInfo.name }),
    );
  }

  async arrive(expected) {
    const connected = next(this.client, "connected");
    this.client.connect();
    this.transport = (await connected).transport;

    const room = this.client.newSubscription(ROOM);
    room.on("error", ({ error }) => this.errors.push(error));
    this.complete = new Promise((resolve) => {
      room.on("publication", ({ data, info }) => {
        this.seen.push({ number: data.number, user: info.user, name: info.connInfo.name });
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
      await this.room.publish({ number });
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

async function converse(Centrifuge, { url, tokens, bob: bobId, messages }, options = {}) {
  const alice = new Person(Centrifuge, url, { ...options, token: tokens.alice });
  const bob = new Person(Centrifuge, url, { ...options, token: tokens.bob });
  await Promise.all([alice.arrive(2 * messages), bob.arrive(2 * messages)]);

  await Promise.all([alice.talk(messages), bob.talk(messages)]);
  await Promise.all([alice.complete, bob.complete]);

  const received = next(bob.client, "publication");
  await alice.client.publish(`dm:#${bobId}`, { text: "psst" });
  await received;

  const refusal = await alice.client.publish("dm:#nobody", { text: "psst" }).then(
    () => null,
    ({ code, message }) => ({ code, message }),
  );
  const { data: echo } = await alice.client.rpc("echo", { text: "hello" });

  await Promise.all([alice.leave(), bob.leave()]);
  return { alice: alice.report, bob: bob.report, refusal, echo };
}

globalThis.converse = converse;

if (globalThis.process) {
  const { readFileSync } = await import("node:fs");
  const { Centrifuge } = await import("centrifuge");
  const { WebSocket } = await import("ws");
  const input = JSON.parse(readFileSync(0, "utf8"));
  console.log(JSON.stringify(await converse(Centrifuge, input, { websocket: WebSocket })));
}
