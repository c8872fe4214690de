// onConsent calls told with each state of consent from now on. The core only sets core.consent;
// several extensions may listen.
export const onConsent = (core, told) => {
  const { set } = Object.getOwnPropertyDescriptor(core, "consent");
  let { consent } = core;
  Object.defineProperty(core, "consent", {
    get: () => consent,
    set(state) {
      consent = state;
      if (set) set(state);
      told(state);
    },
  });
};
