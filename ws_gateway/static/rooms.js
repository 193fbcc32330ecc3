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

/** One room, or one other person. */
class Conversation {
  joined = false;
  messages = [];
  unread = 0;
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

  /** Take back a message that is being sent again. */
  drop(conversation, message) {
    conversation.messages = conversation.messages.filter((one) => one !== message);
    this.#changed(conversation);
  }

  /** Tell every conversation something that is no message. */
  noteEverywhere(text) {
    for (const conversation of this.#all.values()) this.add(conversation, { note: true, text });
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
