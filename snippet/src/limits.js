// Characters, which take three bytes each at most. Browsers allow 64 KiB of keepalive bodies in
// flight: room for two batches, or for one event that is larger than a batch.
export const CAP = 10000;
export const KEEPALIVE_CAP = 20000;

// That many events are tried for a body at first; they are halved until they fit. More would
// mean to encode what waits again and again.
export const BATCH = 99;

// A pixel's URL, which has nine bytes for many a character, passes where headers may have 8 KiB.
export const PIXEL_CAP = 1000;

// What is held for another try: this many events, the newest, for this many
// rounds without one success.
export const HELD = 500;
export const ROUNDS = 10;

// After a leave, less engaged time than this (ms) is not worth another one.
export const ENGAGED = 1000;

// When (ms) the page has most likely nothing else to do.
export const IDLE = 3000;

// How long (ms) the first batch waits at most: for a frame, or for the extensions.
export const PATIENCE = 1000;
