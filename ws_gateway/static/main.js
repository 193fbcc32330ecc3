// Ties the parts together: what the user does becomes commands, what comes becomes messages.

import { Connection, backoff } from "./connection.js";
import { Conversations, LOBBY, channelNamed, nameOf, textOf } from "./rooms.js";
import { keepRooms, keptRooms, logOut, renew, toLogin, whoAmI } from "./session.js";
import { View, timeOf } from "./view.js";

const RETRY_MILLISECONDS = 3000;
const MAX_NAME_IN_ERROR = 60;
const EARLIER_MESSAGES = 50;

const NOT_CONNECTED = 1404;
const ALREADY_SUBSCRIBED = 105;
const REASONS = new Map([
  [0, "the connection was lost; perhaps it arrived, perhaps not"],
  [100, "the server cannot do it right now"],
  [102, "there is no such place"],
  [103, "you may not do this here"],
  [106, "you are in too many rooms"],
  [107, "that name is not possible"],
  [111, "too fast"],
]);

const tabs = new BroadcastChannel("drawbridge");

let me = null;
let self = ""; // the user's id at the gateway, which several issuers' users share
let personalPrefix = null; // private messages go to the channel that begins so
let personalChannel = null;
let lostAt = null;

const conversations = new Conversations(changed);
const view = new View({ select, join, leave, send, again, write, logOut: leaveForGood });
const connection = new Connection(
  `${location.protocol === "http:" ? "ws" : "wss"}://${location.host}/connection/websocket`,
  { state: stateChanged, connected, push: received, sessionOver },
);

function reasonOf(error) {
  return REASONS.get(error.code) ?? error.message;
}

function shortened(name) {
  return name.length > MAX_NAME_IN_ERROR ? `${name.slice(0, MAX_NAME_IN_ERROR)}…` : name;
}

// What the page shows

function changed(conversation, message) {
  const { rooms, people, active, unread } = conversations;
  view.showLists({ rooms, people, active, unread });
  if (message) view.showMessage(conversation, message);
  else if (active) view.showConversation(active, { leavable: active.channel !== LOBBY, self });
}

function keep() {
  const rooms = conversations.rooms.map(({ channel }) => channel);
  keepRooms(me.sub, rooms, conversations.active?.channel);
}

function isSeen(conversation) {
  return conversation === conversations.active && !document.hidden;
}

function stateChanged(state, detail) {
  view.setState(state);
  if (state === "reconnecting" && lostAt === null && self) lostAt = new Date();
  if (state === "stopped") {
    view.setError(`The server has ended the connection: ${detail}. Reload the page to come back.`);
  }
}

// What the server says

function connected({ subs = {} }) {
  // The server subscribes everybody to a channel of his own, and its name says how others' look.
  const own = new RegExp(`^(.*#)((?:[a-z0-9]+[.])?${me.sub})$`);
  const found = Object.keys(subs).map((name) => own.exec(name)).find(Boolean);
  [personalChannel, personalPrefix, self] = found ?? [null, null, me.sub];
  const missing = lostAt && `Connected again. What was said since ${timeOf(lostAt)} is not shown.`;
  for (const room of conversations.rooms) {
    room.joined = false;
    room.missing = missing;
    resubscribe(room);
  }
  if (missing) conversations.people.forEach((person) => note(person, missing));
  lostAt = null;
}

function note(conversation, text) {
  conversations.add(conversation, { note: true, text });
}

async function subscribe(room) {
  const { channel, position } = room;
  const recover = position ? { recover: true, ...position } : {};
  try {
    const request = { channel, join_leave: true, ...recover };
    const begun = await connection.command({ subscribe: request });
    conversations.setJoined(room, true);
    entered(room, begun, position === null);
    return null;
  } catch (error) {
    if (error.code === ALREADY_SUBSCRIBED) return null;
    conversations.setJoined(room, false);
    if (error.temporary) {
      // Without a connection the next one subscribes.
      if (connection.ready) setTimeout(() => resubscribe(room), RETRY_MILLISECONDS);
      return null;
    }
    return error;
  }
}

/** Show what was said before, or meanwhile, and who is here. */
function entered(room, { epoch, offset = 0, recovered, publications = [] }, first) {
  room.position = epoch === undefined ? null : { epoch, offset };
  for (const pub of publications) publicationCame(room, pub);
  if (room.missing) note(room, recovered ? "Connected again." : room.missing);
  room.missing = null;
  if (first && epoch !== undefined) readEarlier(room, { epoch, offset: offset + 1 });
  lookAround(room);
}

async function readEarlier(room, since) {
  const request = { channel: room.channel, limit: EARLIER_MESSAGES, since, reverse: true };
  try {
    const { publications = [] } = await connection.command({ history: request });
    conversations.precede(room, publications.reverse().map(messageOf));
  } catch {
    // The room begins with what is said now.
  }
}

async function lookAround(room) {
  try {
    const { presence } = await connection.command({ presence: { channel: room.channel } });
    const here = Object.entries(presence ?? {}).map(([client, info]) => [client, whoIs(info)]);
    conversations.setHere(room, presence ? new Map(here) : null);
  } catch {
    conversations.setHere(room, null);
  }
}

function whoIs(info) {
  return { user: info.user, name: nameOf(info) };
}

async function resubscribe(room) {
  if (!connection.ready || conversations.find(room.channel) !== room || room.joined) return;
  const error = await subscribe(room);
  if (error) note(room, `You are out: ${reasonOf(error)}.`);
}

function messageOf({ info, data }) {
  const user = info?.user ?? "";
  return { own: user === self, user, name: nameOf(info), text: textOf(data) };
}

function publicationCame(place, pub) {
  if (pub.offset && place.position) {
    const epoch = pub.epoch ?? place.position.epoch; // a stream's first names it
    place.position = { epoch, offset: pub.offset };
  }
  conversations.add(place, messageOf(pub), isSeen(place));
}

function received({ channel, pub, join: joined, leave: left, unsubscribe }) {
  const room = conversations.find(channel);
  if (pub && channel === personalChannel) {
    const { user, name } = messageOf(pub);
    publicationCame(conversations.person(user, name, personalPrefix + user), pub);
  } else if (pub && room) {
    publicationCame(room, pub);
  } else if (joined && room) {
    const who = whoIs(joined.info);
    const isNew = conversations.come(room, joined.info.client, who);
    if (isNew && who.user !== self) note(room, `${who.name} has come.`);
  } else if (left && room) {
    const who = whoIs(left.info);
    const isGone = conversations.go(room, left.info.client, who);
    if (isGone && who.user !== self) note(room, `${who.name} has gone.`);
  } else if (unsubscribe && room) {
    conversations.setJoined(room, false);
    if (unsubscribe.code >= 2500) resubscribe(room);
    else note(room, `You are out: ${unsubscribe.reason}.`);
  }
}

/** Say whether the session lives; if that is settled, or it does not, go where one logs in. */
async function sessionOver(settled) {
  if (!settled) {
    try {
      // The access token has expired, as it does every few minutes, or the session is over.
      if ((await renew()) || (await whoAmI())) return true;
    } catch {
      return true; // not to be found out now; the next attempt will tell
    }
  }
  connection.stop();
  toLogin();
  return false;
}

// What the user wants

function select(conversation) {
  conversations.select(conversation);
  keep();
  view.focusComposer();
}

async function join(name) {
  const channel = channelNamed(name);
  const open = conversations.find(channel);
  if (open) return select(open);
  view.setError("");
  if (!connection.ready) return view.setError("Not connected: rooms can be joined again shortly.");
  const before = conversations.active;
  const room = conversations.room(channel);
  select(room);
  const error = await subscribe(room);
  if (!error) return undefined;
  if (conversations.active === room) select(before);
  conversations.remove(room);
  keep();
  return view.setError(`“${shortened(name)}” cannot be joined: ${reasonOf(error)}.`);
}

function leave(conversation) {
  if (conversation.kind === "room" && connection.ready) {
    connection.command({ unsubscribe: { channel: conversation.channel } }).catch(() => {});
  }
  conversations.remove(conversation);
  select(conversations.room(LOBBY));
}

function write(user, name) {
  if (!user || user === self || personalPrefix === null) return;
  select(conversations.person(user, name, personalPrefix + user));
}

/** Whether the text is on its way, so that it need not be kept in its field. */
function send(conversation, text) {
  if (!connection.ready) {
    view.setError("Not connected. Your message stays here; send it again in a moment.");
    return false;
  }
  publish(conversation, text);
  return true;
}

function again(conversation, message) {
  if (send(conversation, message.text)) conversations.drop(conversation, message);
}

async function publish(conversation, text) {
  const own = { own: true, user: self, name: me.username, text };
  const person = conversation.kind === "person";
  try {
    await connection.command({ publish: { channel: conversation.channel, data: { text } } });
    // A room sends it to all of its members, us among them; a private channel only to its owner.
    if (person) conversations.add(conversation, own);
  } catch (error) {
    const failed =
      error.code === NOT_CONNECTED
        ? `Not delivered: ${conversation.title} is not connected.`
        : `Not sent: ${reasonOf(error)}.`;
    conversations.add(conversation, { ...own, failed });
  }
}

async function leaveForGood() {
  try {
    await logOut();
  } catch {
    view.setError("Logging out did not work: the server cannot be reached. Please try again.");
    return;
  }
  connection.stop();
  tabs.postMessage("logged out");
  toLogin();
}

// The beginning

async function identify() {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return (await whoAmI()) ?? ((await renew()) ? await whoAmI() : null);
    } catch {
      view.setState("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, backoff(attempt)));
    }
  }
}

async function begin() {
  me = await identify();
  if (me === null) return toLogin();
  view.setUser(me.username);
  const kept = keptRooms(me.sub);
  for (const channel of new Set([LOBBY, ...(kept?.rooms ?? [])])) conversations.room(channel);
  select(conversations.find(kept?.active) ?? conversations.room(LOBBY));
  return connection.start();
}

tabs.addEventListener("message", () => {
  connection.stop();
  toLogin();
});
addEventListener("online", () => connection.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  connection.hurry();
  if (conversations.active) conversations.select(conversations.active);
});
// Back from the log-in page with the browser's button: another user may have come meanwhile.
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) location.reload();
});

begin();
