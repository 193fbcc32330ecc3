// One participant in a room, who does what he is told from outside and remembers what he heard.
//
// In Node this is the program, and speaks Protobuf: the first line of stdin says where to go, every
// further one is a sentence to publish; stdout has a line for each event. In a browser the page
// has `participants`, each of the SDK's own bundle, and asks them.

class Participant {
  constructor(Centrifuge, { url, token, channel }, options, { pack, unpack }) {
    this.client = new Centrifuge(url, { ...options, token });
    this.room = this.client.newSubscription(channel);
    this.pack = pack;
    this.heard = [];
    this.ends = [];
    this.room.on("publication", ({ data }) => this.heard.push(unpack(data)));
    // The first attempt, of the connection and of the subscription, has the code 0.
    for (const emitter of [this.client, this.room]) {
      for (const event of ["connecting", "disconnected", "subscribing", "unsubscribed"]) {
        emitter.on(event, ({ code }) => code !== 0 && this.ends.push(code));
      }
    }
  }

  async arrive() {
    this.room.subscribe();
    this.client.connect();
    await this.room.ready(10_000);
  }

  // Returns the error's code, or 0 if the sentence was acknowledged.
  attempt(sentence) {
    return this.room.publish(this.pack(sentence)).then(
      () => 0,
      ({ code }) => code,
    );
  }
}

// What the SDK for Protobuf hands out and takes is bytes, which are JSON here.
const asBytes = {
  pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
  unpack: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
};
const asIs = { pack: (value) => value, unpack: (value) => value };

if (globalThis.process) {
  const { createInterface } = await import("node:readline");
  const { Centrifuge } = await import("centrifuge/build/protobuf");
  const { WebSocket } = await import("ws");
  const tell = (event) => console.log(JSON.stringify(event));
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const place = JSON.parse((await lines.next()).value);
  const self = new Participant(Centrifuge, place, { websocket: WebSocket }, asBytes);
  self.heard = { push: (sentence) => tell({ heard: sentence }) };
  self.ends = { push: (code) => tell({ end: code }) };
  await self.arrive();
  tell({ code: 0 });
  for await (const line of lines) tell({ code: await self.attempt(JSON.parse(line)) });
  process.exit();
} else {
  globalThis.participants ??= {};
  globalThis.participate ??= (name, Centrifuge, place) => {
    const participant = new Participant(Centrifuge, place, {}, place.protobuf ? asBytes : asIs);
    participants[name] = participant;
    return participant.arrive();
  };
}
