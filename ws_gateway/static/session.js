// The user's session: a cookie that scripts cannot read, so the server is asked about it.

const ROOMS_KEY = "drawbridge.rooms";

/** The user, null if nobody is logged in; throws if that cannot be found out now. */
export async function whoAmI() {
  const answer = await fetch("/users/me", { cache: "no-store" });
  if (answer.status === 401) return null;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

/**
 * Let the session go on with new cookies: whether it does; throws if that cannot be found out now.
 * Of two tabs at the same time both are told that it does.
 */
export async function renew() {
  const answer = await fetch("/session/refresh", { method: "POST", cache: "no-store" });
  if (answer.status === 401) return false;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return true;
}

/** End the session; throws if the server did not do it. */
export async function logOut() {
  const answer = await fetch("/session", { method: "DELETE" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  sessionStorage.removeItem(ROOMS_KEY);
}

export function toLogin() {
  location.replace("/login");
}

/** Keep in this tab which rooms are open, so that they are after the next log-in. */
export function keepRooms(user, rooms, active) {
  sessionStorage.setItem(ROOMS_KEY, JSON.stringify({ user, rooms, active }));
}

/** What was kept, if it was this user's. */
export function keptRooms(user) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(ROOMS_KEY));
    return kept?.user === user ? kept : null;
  } catch {
    return null;
  }
}
