// The log-in form: sends name and password to /session, then goes where the user wanted to be.

const form = document.getElementById("login");
const error = document.getElementById("error");
const button = form.querySelector("button");

const RENEWED_KEY = "drawbridge.renewed";
const RENEWAL_PAUSE = 10_000;

const REFUSED = "Wrong user name or password.";
const TOO_MANY = "Too many log-ins at the moment. Please try again shortly.";
const UNREACHABLE = "The server cannot be reached. Please try again.";
const FAILED = "Logging in is not possible at the moment.";

/** Only a path of this very site, or the start page: an address may have been made by anybody. */
function destination() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  if (!wanted.startsWith("/")) return "/";
  try {
    // "//host" and "/\host" begin with a slash too, and lead elsewhere.
    const url = new URL(wanted, location.origin);
    // All of what was looked at: the path alone may begin with "//", and would lead elsewhere too.
    return url.origin === location.origin ? url.href : "/";
  } catch {
    return "/";
  }
}

async function refusal(answer) {
  if (answer.status === 429 || answer.status === 503) return TOO_MANY;
  const { error: word } = await answer.json().catch(() => ({}));
  return word === "invalid_grant" || word === "invalid_request" ? REFUSED : FAILED;
}

async function logIn() {
  const { username, password } = form.elements;
  let answer;
  try {
    answer = await fetch("/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ username: username.value, password: password.value }),
      cache: "no-store",
    });
  } catch {
    return UNREACHABLE;
  }
  if (!answer.ok) return refusal(answer);
  location.replace(destination());
  return null;
}

/** Who is logged in still, but has no fresh access token, need not type anything. */
async function stayLoggedIn() {
  // If the server sends the browser back here at once, something else is wrong: no circles.
  const last = Number(sessionStorage.getItem(RENEWED_KEY));
  if (Math.abs(Date.now() - last) < RENEWAL_PAUSE) return;
  const answer = await fetch("/session/refresh", { method: "POST", cache: "no-store" });
  if (!answer.ok || button.disabled) return;
  sessionStorage.setItem(RENEWED_KEY, String(Date.now()));
  location.replace(destination());
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  button.disabled = true;
  error.textContent = "";
  const problem = await logIn();
  if (problem === null) return;
  error.textContent = problem;
  button.disabled = false;
  form.elements.password.select();
});

// Back from the chat with the browser's button: the page is as it was left, in the middle of it.
addEventListener("pageshow", () => {
  button.disabled = false;
});

stayLoggedIn().catch(() => {}); // the form is there
