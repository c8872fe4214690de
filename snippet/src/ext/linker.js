// One session over the site's domains: a link to a host of data-link carries the session,
// and the page that it leads to takes it over when it is not older than two minutes.
// It needs data-session="tab" on both. Before consent nothing is carried, read or stored.
import { guard, on, stored } from "../guard.js";

const KEY = "_ff";
const FRESH = 120;

const seconds = () => Math.round(Date.now() / 1000);

guard(() =>
  footfall.use((core) => {
    const { data, before } = core;
    if (!data.session) return;
    const [id, made] = (new URLSearchParams(location.search).get(KEY) || "").split(".");
    const age = seconds() - parseInt(made, 36);
    let taken = /^[\da-f-]{32,36}$/.test(id) && age > -FRESH && age < FRESH && id;

    // The first event that may be sent: the session may be stored too.
    before.push((event) => {
      if (!taken) return;
      event.session_id = taken;
      stored(() => {
        sessionStorage.footfall = taken;
      });
      taken = 0;
    });

    const linked = (event) => {
      const link = event.composedPath().find((el) => el.matches && el.matches("a[href]"));
      const to = link && new URL(link.href);
      const hosts = (data.link || "").split(",");
      if (!to || !/^http/.test(to.protocol) || to.host === location.host || !hosts.includes(to.hostname)) return;
      const session = !/^(wait|no)$/.test(core.consent) && stored(() => sessionStorage.footfall);
      if (!session) return;
      to.searchParams.set(KEY, session + "." + seconds().toString(36));
      link.href = to.href;
    };
    on({ click: linked, auxclick: linked });
  }),
)();
