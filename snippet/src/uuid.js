let last = 0;

// uuid returns a UUIDv7, 32 hex digits without hyphens. The collector takes occurred_at from its
// first 48 bits, so the ids of one page rise strictly: a burst within one millisecond borrows
// the next ones, and a leave still sorts before the pageview that followed it.
// Its 18 random digits, decimal ones, tell events apart and guard nothing.
export const uuid = () => {
  // Eleven hex digits hold the milliseconds until the year 2527.
  const time = (last = Math.max(Date.now(), last + 1)).toString(16);
  return (0 + time + "7xxx8xxxxxxxxxxxxxxx").replace(/x/g, () => (Math.random() * 10) | 0);
};
