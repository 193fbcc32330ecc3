// What the page knows: conversations, their messages, what is unread. No DOM and no network.

const MAX_MESSAGES = 500;
const ROOM_PREFIX = "room:";
export const LOBBY = "lobby";

/** The channel behind a name that somebody typed. */
export function channelNamed(name) {
  return name === LOBBY || name.includes(":") ? name : ROOM_PREFIX + name;
}

/** The text of a publication; other programs may have sent any JSON value. */
export function textOf(data) {
  if (typeof data === "string") return data;
  if (typeof data?.text === "string") return data.text;
  return JSON.stringify(data);
}

/** What others see of a user; the server itself publishes without a sender. */
export function nameOf(info) {
  return String(info?.conn_info?.name ?? (info?.user || "the server"));
}

/** One room, or one other person. */
class Conversation {
  joined = false;
  messages = [];
  unread = 0;
  position = null; // where the room's stream was heard last: { offset, epoch }
  missing = null; // what to say if nothing was recovered after a lost connection
  here = null; // who is in the room: client → { user, name }; null if that is not to be known
  #sequence = 0;

  constructor(id, kind, channel, title) {
    Object.assign(this, { id, kind, channel, title });
  }

  add(message) {
    const kept = { key: this.#sequence++, time: new Date(), ...message };
    this.messages.push(kept);
    if (this.messages.length > MAX_MESSAGES) this.messages.shift();
    return kept;
  }

  /** Put what was said before in front; when, nobody knows. */
  precede(messages) {
    const kept = messages.map((one) => ({ key: this.#sequence++, time: null, ...one }));
    this.messages = [...kept, ...this.messages].slice(-MAX_MESSAGES);
  }

  /** The others in the room, by name; a user with several connections is one. */
  get others() {
    if (this.here === null) return null;
    return new Map([...this.here.values()].map(({ user, name }) => [user, name]));
  }
}

export class Conversations {
  #all = new Map();
  #active = null;
  #changed;

  /** @param changed  Called with (conversation, message); without message, if the list changed. */
  constructor(changed) {
    this.#changed = changed;
  }

  get active() {
    return this.#active;
  }

  get rooms() {
    return this.#of("room");
  }

  get people() {
    return this.#of("person");
  }

  get unread() {
    return [...this.#all.values()].reduce((sum, { unread }) => sum + unread, 0);
  }

  room(channel) {
    const title = channel.startsWith(ROOM_PREFIX) ? channel.slice(ROOM_PREFIX.length) : channel;
    return this.#get(`room ${channel}`, "room", channel, title);
  }

  person(user, name, channel) {
    const found = this.#get(`person ${user}`, "person", channel, name);
    if (found.title !== name) {
      found.title = name;
      this.#changed(found);
    }
    return found;
  }

  /** The room of a channel, if it is open. */
  find(channel) {
    return this.#all.get(`room ${channel}`);
  }

  select(conversation) {
    this.#active = conversation;
    conversation.unread = 0;
    this.#changed(conversation);
  }

  remove(conversation) {
    this.#all.delete(conversation.id);
    if (this.#active === conversation) this.#active = null;
    this.#changed(conversation);
  }

  setJoined(conversation, joined) {
    conversation.joined = joined;
    this.#changed(conversation);
  }

  /** Add a message; somebody else's is unread unless `seen`. */
  add(conversation, message, seen) {
    const kept = conversation.add(message);
    if (!seen && !message.own && !message.note) conversation.unread += 1;
    this.#changed(conversation, kept);
  }

  /** Add what was said before the room was entered. */
  precede(conversation, messages) {
    if (messages.length === 0) return;
    conversation.precede(messages);
    this.#changed(conversation);
  }

  /** Note who is in a room, by client; null if that is not to be known. */
  setHere(conversation, here) {
    conversation.here = here;
    this.#changed(conversation);
  }

  /** Note that somebody came; whether it is a user who was not there. */
  come(conversation, client, who) {
    const { here, others } = conversation;
    if (here === null) return false;
    this.setHere(conversation, new Map(here).set(client, who));
    return !others.has(who.user);
  }

  /** Note that somebody went; whether nothing of that user is left. */
  go(conversation, client, { user }) {
    if (!conversation.here?.has(client)) return false;
    const here = new Map(conversation.here);
    here.delete(client);
    this.setHere(conversation, here);
    return !conversation.others.has(user);
  }

  /** Take back a message that is being sent again. */
  drop(conversation, message) {
    conversation.messages = conversation.messages.filter((one) => one !== message);
    this.#changed(conversation);
  }

  #of(kind) {
    return [...this.#all.values()].filter((one) => one.kind === kind);
  }

  #get(id, kind, channel, title) {
    let found = this.#all.get(id);
    if (found === undefined) {
      found = new Conversation(id, kind, channel, title);
      this.#all.set(id, found);
      this.#changed(found);
    }
    return found;
  }
}
