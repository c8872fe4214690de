// One session over the site's domains: a link to a host of data-link carries the session,
// and the page that it leads to takes it over when it is not older than two minutes.
// It needs data-session="tab" on both.
import { guard, on, stored } from "../guard.js";

const KEY = "_ff";
const FRESH = 120;

const seconds = () => Math.round(Date.now() / 1000);

guard(() =>
  footfall.use(({ data }) => {
    const url = new URL(location.href);
    const [id, made] = (url.searchParams.get(KEY) || "").split(".");
    const age = seconds() - parseInt(made, 36);
    if (data.session && /^[\da-f-]{36}$/.test(id) && age > -FRESH && age < FRESH) {
      stored(() => {
        sessionStorage.footfall = id;
      });
    }

    const linked = (event) => {
      const link = event.composedPath().find((el) => el.matches && el.matches("a[href]"));
      const session = stored(() => sessionStorage.footfall);
      if (!link || !data.session || !session) return;
      const to = new URL(link.href);
      if (to.host === location.host || !(data.link || "").split(",").includes(to.hostname)) return;
      to.searchParams.set(KEY, session + "." + seconds().toString(36));
      link.href = to.href;
    };
    on({ click: linked, auxclick: linked });
  }),
)();
