// One connection to the gateway that comes back by itself: socket, commands, pings, backoff.
//
// It speaks the protocol by hand. `connect` is the first command, because the server then pings
// with messages that a page can see: a socket on which they stay away is dead, whatever TCP says.

const FIRST_DELAY = 500;
const MAX_DELAY = 20_000;
const ANSWER_TIMEOUT = 10_000;
const PING_GRACE = 10_000;

const TEMPORARY = new Set([100, 111]);
const TOKEN_EXPIRED = 109;
// The session is over: expired (3005), or ended by the server (3500).
const SESSION_OVER = new Set([3005, 3500]);
const MESSAGE_TOO_BIG = 1009;

/** What became of a command that failed; code 0 means that nobody knows. */
export class CommandError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
    this.temporary = code === 0 || TEMPORARY.has(code);
  }
}

/** Codes after which the server does not want to see this client again. */
export function isTerminal(code) {
  return code === MESSAGE_TOO_BIG || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
}

/** Full jitter: a crowd that lost its server together does not come back together. */
export function backoff(attempt, random = Math.random) {
  const ceiling = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(attempt, 16));
  return FIRST_DELAY / 2 + random() * (ceiling - FIRST_DELAY / 2);
}

export class Connection {
  #url;
  #on;
  #socket = null;
  #pending = new Map();
  #nextId = 1;
  #attempt = 0;
  #refusals = 0;
  #timer = 0; // for the next attempt, or for the next sign of life
  #patience = ANSWER_TIMEOUT;
  #ready = false;
  #running = false;

  /**
   * @param url  The gateway's address.
   * @param on   What to call: state(name, detail), connected(result), push(push), and
   *             sessionOver(), which says whether the session lives after all.
   */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  get ready() {
    return this.#ready;
  }

  start() {
    this.#running = true;
    this.#attempt = 0;
    this.#on.state("connecting");
    this.#open();
  }

  stop() {
    this.#running = false;
    this.#abandon("the page has left");
  }

  /** Try now instead of later: the network, or the user, is back. */
  hurry() {
    if (this.#running && this.#socket === null && this.#timer !== 0) this.#open();
  }

  /** Send a command and wait for its answer. */
  command(request) {
    if (!this.#ready) return Promise.reject(new CommandError(0, "not connected"));
    return this.#ask(this.#socket, request);
  }

  #open() {
    this.#abandon("tried again");
    const socket = new WebSocket(this.#url, "centrifuge-json");
    this.#socket = socket;
    socket.onopen = () => this.#connect(socket);
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#lost(code, reason);
    };
    this.#patience = ANSWER_TIMEOUT;
    this.#watch();
  }

  async #connect(socket) {
    try {
      const result = await this.#ask(socket, { connect: {} });
      this.#ready = true;
      this.#attempt = this.#refusals = 0;
      this.#patience = result.ping ? result.ping * 1000 + PING_GRACE : 0;
      this.#watch();
      this.#on.state("connected");
      this.#on.connected(result);
    } catch (error) {
      if (socket !== this.#socket) return; // whatever took it away has said so
      if (error.code === TOKEN_EXPIRED) this.#refused();
      else if (error.temporary) this.#lost(0, error.message);
      else this.#end(error.message);
    }
  }

  #ask(socket, request) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new CommandError(0, "the server does not answer"));
      }, ANSWER_TIMEOUT);
      this.#pending.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ id, ...request }));
    });
  }

  #receive(socket, data) {
    if (socket !== this.#socket) return;
    this.#watch();
    for (const line of data.split("\n")) {
      if (!line.trim()) continue;
      const message = JSON.parse(line);
      if (message.id) this.#answered(message);
      else if (message.push) this.#on.push(message.push);
      else if (!message.error) socket.send("{}"); // a ping; this is the pong
    }
  }

  #answered({ id, error, ...results }) {
    const waiting = this.#pending.get(id);
    if (waiting === undefined) return;
    this.#pending.delete(id);
    clearTimeout(waiting.timer);
    if (error) waiting.reject(new CommandError(error.code, error.message));
    else waiting.resolve(Object.values(results)[0] ?? {});
  }

  #watch() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#patience) {
      this.#timer = setTimeout(() => this.#lost(0, "no sign of life"), this.#patience);
    }
  }

  #lost(code, reason) {
    this.#abandon(reason || "connection lost");
    if (!this.#running) return;
    if (SESSION_OVER.has(code)) this.#refused();
    else if (isTerminal(code)) this.#end(reason || `code ${code}`);
    else this.#later();
  }

  async #refused() {
    this.#abandon("the session is over");
    this.#refusals += 1;
    // The session may go on with new cookies, which the next handshake brings. If that is refused as
    // well, asking again would go round in circles.
    const alive = this.#refusals === 1 && (await this.#on.sessionOver(false));
    if (!this.#running) return;
    if (alive) this.#later();
    else this.#on.sessionOver(true);
  }

  #later() {
    const delay = backoff(this.#attempt);
    this.#attempt += 1;
    this.#on.state("reconnecting");
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  #end(reason) {
    this.#running = false;
    this.#abandon(reason);
    this.#on.state("stopped", reason);
  }

  /** Let go of the socket, also of one that would take minutes to notice that it is dead. */
  #abandon(reason) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#ready = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(new CommandError(0, reason));
    }
  }
}
