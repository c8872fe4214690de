// Browsers allow 64 KiB of keepalive bodies in flight; the rest is headroom.
export const CAP = 60000;

// What is held for another try: this many events, the newest, for this many
// rounds without one success.
export const HELD = 500;
export const ROUNDS = 10;

// After a leave, less engaged time than this (ms) is not worth another one.
export const ENGAGED = 1000;

// When (ms) the page has most likely nothing else to do.
export const IDLE = 3000;
