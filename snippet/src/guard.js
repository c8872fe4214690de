// The page is the host: nothing here may throw into it, and a problem is told
// once per page, not once per event.

let told;

export function warn(problem) {
  if (!told) console.warn("footfall:", problem);
  told = 1;
}

export function guard(fn) {
  return (...args) => {
    try {
      return fn(...args);
    } catch (problem) {
      warn(problem);
    }
  };
}

// on listens in the capture phase, before the page can stop an event.
export function on(target, type, fn) {
  target.addEventListener(type, guard(fn), true);
}
