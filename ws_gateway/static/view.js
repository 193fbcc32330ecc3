// The DOM. What people wrote goes into it as text and in no other way.

const GROUP_MILLISECONDS = 5 * 60 * 1000;
const NEAR_END_PIXELS = 80;
const NAMES_SHOWN = 20;

const STATES = {
  connecting: "connecting",
  connected: "connected",
  reconnecting: "reconnecting…",
  stopped: "disconnected",
};

const byId = (id) => document.getElementById(id);

export function timeOf(date) {
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** Who is in a room, in words. */
function hereIn({ others }, self) {
  if (others === null) return "";
  const names = [...others].filter(([user]) => user !== self).map(([, name]) => name).sort();
  const shown = names.slice(0, NAMES_SHOWN);
  if (names.length > shown.length) shown.push(`${names.length - shown.length} more`);
  if (others.has(self)) shown.push("you");
  return `${others.size} here: ${shown.join(", ")}`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children); // strings become text nodes
  return made;
}

export class View {
  #on;
  #shown = null; // the conversation in the log
  #keys = ""; // of the messages in the log
  #entries = new WeakMap(); // conversation → its entry in a list

  /** @param on  select, join, leave, send, again, write, logOut: what the user wants. */
  constructor(on) {
    this.#on = on;
    byId("log-out").addEventListener("click", on.logOut);
    byId("leave").addEventListener("click", () => on.leave(this.#shown));
    byId("join").addEventListener("submit", (event) => this.#join(event));
    byId("composer").addEventListener("submit", (event) => this.#send(event));
    byId("text").addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#send(event);
    });
    byId("log").addEventListener("keydown", (event) => this.#moveAmongNames(event));
  }

  setUser(name) {
    byId("me").textContent = name;
  }

  setState(state) {
    const shown = byId("state");
    shown.dataset.state = state;
    shown.textContent = STATES[state];
  }

  setError(text) {
    byId("error").textContent = text;
  }

  focusComposer() {
    // Where there is no keyboard, the one on the screen would come up and hide the conversation.
    if (matchMedia("(any-pointer: fine)").matches) byId("text").focus();
  }

  /** Show lists and title as they are now; what has the focus keeps it. */
  showLists({ rooms, people, active, unread }) {
    this.#showList(byId("rooms"), rooms, active);
    this.#showList(byId("people"), people, active);
    document.title = unread ? `(${unread}) Drawbridge` : "Drawbridge";
  }

  /** Show a conversation; its messages are made anew only if it was not the one shown. */
  showConversation(conversation, { leavable, self }) {
    const person = conversation.kind === "person";
    byId("title").textContent = conversation.title;
    byId("title").dataset.kind = conversation.kind;
    const kind = person ? "private, between the two of you" : hereIn(conversation, self);
    if (byId("kind").textContent !== kind) byId("kind").textContent = byId("kind").title = kind;
    byId("leave").hidden = !leavable;
    byId("leave").textContent = person ? "Close" : "Leave";
    const text = byId("text");
    text.placeholder = person ? `Message to ${conversation.title}` : "Message";
    const keys = conversation.messages.map(({ key }) => key).join();
    if (this.#shown === conversation && this.#keys === keys) return;
    const other = this.#shown !== conversation;
    this.#shown = conversation;
    const log = byId("log");
    log.ariaBusy = "true"; // or a screen reader would read all of it again
    log.replaceChildren();
    conversation.messages.forEach((message, index, all) => this.#append(message, all[index - 1]));
    this.#keys = keys;
    log.scrollTop = log.scrollHeight;
    log.ariaBusy = "false";
    if (other) this.setError("");
  }

  /** Add one message to the log, which follows if its end was in sight. */
  showMessage(conversation, message) {
    if (conversation !== this.#shown) return;
    const log = byId("log");
    const near = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PIXELS;
    while (log.childElementCount >= conversation.messages.length) log.firstElementChild.remove();
    this.#append(message, conversation.messages.at(-2));
    this.#keys = conversation.messages.map(({ key }) => key).join();
    if (near || message.own) log.scrollTop = log.scrollHeight;
  }

  #showList(list, conversations, active) {
    const entries = conversations.map((one) => this.#entry(one, one === active));
    const same =
      entries.length === list.childElementCount &&
      entries.every((entry, index) => entry === list.children[index]);
    if (!same) list.replaceChildren(...entries);
  }

  /** The entry of a conversation in its list, made once. */
  #entry(conversation, active) {
    let entry = this.#entries.get(conversation);
    if (entry === undefined) {
      const button = element("button", { type: "button" });
      button.dataset.kind = conversation.kind;
      button.append(
        element("span", { className: "name" }),
        " ",
        element("span", { className: "badge" }),
        element("span", { className: "unseen", textContent: " unread" }),
      );
      button.addEventListener("click", () => this.#on.select(conversation));
      entry = element("li", {}, button);
      this.#entries.set(conversation, entry);
    }
    const [button] = entry.children;
    const [name, badge, word] = button.children;
    name.textContent = conversation.title;
    badge.textContent = String(conversation.unread);
    badge.hidden = word.hidden = conversation.unread === 0;
    if (active && button.ariaCurrent === null) {
      button.ariaCurrent = "true";
      setTimeout(() => button.scrollIntoView({ block: "nearest", inline: "nearest" }));
    } else if (!active) {
      button.ariaCurrent = null;
    }
    return entry;
  }

  #append(message, previous) {
    const { own, note, name, text, time, failed } = message;
    const item = element("li", { className: note ? "note" : own ? "own" : "other" });
    const together =
      previous && !previous.note && previous.user === message.user && previous.own === own &&
      !previous.failed && (time === null) === (previous.time === null) &&
      time - previous.time < GROUP_MILLISECONDS;
    if (note) {
      item.append(element("p", { textContent: text }));
    } else {
      const clock = time
        ? element("time", { textContent: timeOf(time), dateTime: time.toISOString() })
        : element("span", { className: "earlier", textContent: "earlier" });
      if (together) {
        const author = element("span", { className: "unseen", textContent: own ? "You" : name });
        item.classList.add("together");
        item.append(author);
      } else {
        const author = own
          ? element("span", { className: "author", textContent: "You" })
          : this.#author(message);
        item.append(element("p", { className: "head" }, author, " ", clock));
      }
      item.append(element("p", { className: "text", textContent: text }));
    }
    if (failed) {
      item.classList.add("failed");
      const again = element("button", { type: "button", textContent: "Send again" });
      const conversation = this.#shown;
      again.addEventListener("click", () => this.#on.again(conversation, message));
      item.append(element("p", { className: "failure" }, `${failed} `, again));
    }
    byId("log").append(item);
  }

  #author({ user, name }) {
    const button = element("button", { type: "button", className: "author", textContent: name });
    button.title = "Write privately";
    button.addEventListener("click", () => this.#on.write(user, name));
    // One stop of the Tab key for all names; the arrows go from one to the next.
    for (const other of this.#names()) other.tabIndex = -1;
    return button;
  }

  #names() {
    return [...byId("log").querySelectorAll("button.author")];
  }

  #moveAmongNames(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const names = this.#names();
    const at = names.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = names[Math.min(Math.max(at + step, 0), names.length - 1)];
    for (const name of names) name.tabIndex = name === next ? 0 : -1;
    next.focus();
  }

  #join(event) {
    event.preventDefault();
    const input = byId("room");
    const name = input.value.trim();
    if (!name) return;
    input.value = "";
    this.#on.join(name);
  }

  #send(event) {
    event.preventDefault();
    const input = byId("text");
    const text = input.value.trim();
    if (text && this.#on.send(this.#shown, text)) {
      input.value = "";
      this.setError("");
    }
    input.focus();
  }
}
