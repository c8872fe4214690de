let last = 0;

const digit = () => (crypto.getRandomValues(new Uint8Array(1))[0] % 16).toString(16);

// uuid returns a UUIDv7. The collector takes occurred_at from its first 48 bits,
// so the ids of one page rise strictly: a burst within one millisecond borrows
// the next ones, and a leave still sorts before the pageview that followed it.
export function uuid() {
  last = Math.max(Date.now(), last + 1);
  // Eleven hex digits hold the milliseconds until the year 2527.
  const time = ("0" + last.toString(16)).replace(/.{8}/, "$&-");
  return time + "-7xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit);
}
