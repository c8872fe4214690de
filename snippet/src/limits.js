// Browsers allow 64 KiB of keepalive bodies in flight; the rest is headroom.
export const CAP = 60000;

// What is held for another try: this many events, the newest, for this many
// rounds without one success, and at most an hour (ms) from one to the next.
export const HELD = 200;
export const ROUNDS = 10;
export const LONGEST_WAIT = 36e5;

// After a leave, less engaged time than this (ms) is not worth another one.
export const ENGAGED = 1000;
