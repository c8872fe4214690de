// The page is the host: nothing here may throw into it. With the rule warn a problem is
// told, once per page, not once per event.

let told;

export function warn(problem) {
  if (!told) console.warn("footfall:", problem);
  told = 1;
}

export const guard =
  (fn) =>
  (...args) => {
    try {
      return fn(...args);
    } catch (problem) {
      if (WARN) warn(problem);
    }
  };

// stored calls fn where storage may be denied, full or not there. What it throws is nothing.
export const stored = WARN
  ? (fn) => {
      try {
        return fn();
      } catch {
        return undefined;
      }
    }
  : (fn) => guard(fn)(); // the same, in fewer bytes

// on listens in the capture phase of the window, which sees each event first: before
// the page can stop it, and of elements that are added later.
export const on = (handlers) => {
  for (const type in handlers) addEventListener(type, guard(handlers[type]), true);
};

// patch calls fn(this) after each call of a method of the page's.
export const patch = (object, name, fn) => {
  const original = object[name];
  object[name] = function (...args) {
    const result = original.apply(this, args);
    guard(fn)(this);
    return result;
  };
};
