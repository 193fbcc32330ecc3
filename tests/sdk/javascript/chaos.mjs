// Clients on the official JavaScript SDK for `make chaos`: the program's argument is a job as
// tests/chaos/worker.py reads it, a line of stdin an order. What happens goes to the journal, in the
// form of tests/chaos/history.py.

import { createWriteStream, readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";
import { Centrifuge as JSONCentrifuge } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import { WebSocket } from "ws";

const OLD_SECONDS = 30;
const AGAIN_MILLISECONDS = 300;
const MOST_WAITING = 20;
// As the processes of Python look how late they are.
const LOOK_SECONDS = 0.1;
const LAG_SECONDS = 0.5;
const LOST = -1;
const LEFT = 0;
const CUT = 1006;
const TRANSPORT_CLOSED = 1;

const job = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const ca = readFileSync(job.authority);
const agent = new Agent({ ca, keepAlive: true });
const file = createWriteStream(job.journal, { flags: "a" });
// The same clock that Python's time.monotonic() reads.
const now = () => Number(process.hrtime.bigint()) / 1e9;
const note = (...event) => file.write(`${JSON.stringify(event)}\n`);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function post(form) {
  const body = new URLSearchParams(form).toString();
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  return new Promise((done, failed) => {
    const asked = request(`${job.front}/token`, { method: "POST", headers, agent, timeout: 5000 });
    asked.on("response", (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => done([response.statusCode, text]));
      response.on("error", failed);
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer")));
    asked.on("error", failed);
    asked.end(body);
  });
}

class Session {
  constructor(user) {
    this.user = user;
    this.born = -OLD_SECONDS;
    this.turn = Promise.resolve();
  }

  token() {
    this.turn = this.turn.then(() => this.insist());
    return this.turn.then(() => this.access);
  }

  async insist() {
    while (!this.access || now() - this.born > OLD_SECONDS) {
      const born = now();
      const form = this.refresh
        ? { grant_type: "refresh_token", refresh_token: this.refresh }
        : { grant_type: "password", username: this.user, password: job.password };
      const [status, text] = await post({ ...form, client_id: job.client }).catch(() => [0, ""]);
      if (status === 200) {
        const answer = JSON.parse(text);
        [this.access, this.refresh, this.born] = [answer.access_token, answer.refresh_token, born];
        return;
      }
      if (status === 400) this.refresh = undefined;
      await sleep(AGAIN_MILLISECONDS);
    }
  }
}

// Tells which gateway nginx has chosen for it.
const secure = (chosen) =>
  class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca });
      this.on("upgrade", ({ headers }) => chosen(headers["x-chaos-gateway"] ?? ""));
    }
  };

const forms = {
  json: [JSONCentrifuge, (value) => value, (value) => value],
  protobuf: [
    ProtobufCentrifuge,
    (value) => new TextEncoder().encode(JSON.stringify(value)),
    (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
  ],
};

class Member {
  constructor({ kind, name, user, url, channel }, sessions) {
    const [Centrifuge, pack, unpack] = forms[kind];
    this.name = name;
    this.channel = channel;
    this.pack = pack;
    this.number = 0;
    this.waiting = 0;
    this.connected = false;
    if (!sessions.has(user)) sessions.set(user, new Session(user));
    const pauses = { minReconnectDelay: 100, maxReconnectDelay: 1500 };
    const getToken = () => sessions.get(user).token();
    this.gateway = "";
    const websocket = secure((gateway) => (this.gateway = gateway));
    this.client = new Centrifuge(url, { websocket, getToken, ...pauses });
    const again = { minResubscribeDelay: 100, maxResubscribeDelay: 1500 };
    this.room = this.client.newSubscription(channel, again);
    this.client.on("connected", () => {
      this.connected = true;
      note("connected", now(), name, this.gateway, "");
    });
    for (const event of ["connecting", "disconnected"]) {
      this.client.on(event, ({ code }) => this.end(code));
    }
    this.room.on("subscribed", ({ streamPosition, wasRecovering, recovered }) => {
      const { epoch, offset } = streamPosition ?? { epoch: "", offset: 0 };
      note("subscribed", now(), name, channel, epoch, Number(offset), wasRecovering, recovered);
    });
    this.room.on("publication", ({ offset, data }) => {
      const { id, sent } = unpack(data);
      note("received", now(), name, channel, Number(offset), id, sent);
    });
    for (const event of ["subscribing", "unsubscribed"]) {
      this.room.on(event, ({ code }) => {
        if (code >= 1000) note("unsubscribed", now(), name, channel, code);
      });
    }
  }

  end(code) {
    if (!this.connected) return;
    this.connected = false;
    if (code < 1000) code = code === TRANSPORT_CLOSED ? CUT : LEFT;
    note("closed", now(), this.name, code);
  }

  publish() {
    if (!this.connected || this.room.state !== "subscribed" || this.waiting > MOST_WAITING) return;
    const sent = now();
    const id = `${this.name}/${++this.number}`;
    this.waiting += 1;
    note("sent", sent, this.name, this.channel, id);
    const answered = (code) => {
      this.waiting -= 1;
      note("answered", now(), this.name, id, code);
    };
    this.room.publish(this.pack({ id, sent })).then(
      () => answered(0),
      // The SDK's own codes are below 100.
      ({ code }) => answered(code >= 100 ? code : LOST),
    );
  }
}

const sessions = new Map();
const members = job.members.map((member) => new Member(member, sessions));
for (const member of members) {
  member.room.subscribe();
  member.client.connect();
}
await Promise.all(members.map((member) => member.room.ready()));
console.log("ready");
let before = now();
setInterval(() => {
  const late = now() - before - LOOK_SECONDS;
  if (late > LAG_SECONDS) note("lag", now(), "node", late);
  before = now();
}, LOOK_SECONDS * 1000);
const timers = members.map((member) => setInterval(() => member.publish(), job.pause * 1000));
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.end) timers.forEach(clearInterval);
  if (order.end) console.log("ended");
  if (order.quit) break;
}
file.end(() => process.exit());
