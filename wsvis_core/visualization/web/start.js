// What the page does once it is read: contents, gallery, player, and the address that holds their state.

function byId(id) {
  return document.getElementById(id);
}

function element(tag, properties, ...children) {
  const { role, ...others } = properties;
  const made = Object.assign(document.createElement(tag), others);
  if (role) made.setAttribute("role", role);
  made.append(...children);
  return made;
}

/** Mark the section on view in the contents. */
function followSections() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        links.forEach((link) => link.removeAttribute("aria-current"));
        links.get(target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-15% 0px -75% 0px" },
  );
  document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));
}

/** The state behind #, or null where the address names a section or nothing. */
function stateOfAddress() {
  const text = location.hash.slice(1);
  return text.includes("=") ? Object.fromEntries(new URLSearchParams(text)) : null;
}

function startVideos() {
  const gallery = new Gallery();
  const player = new Player(JSON.parse(byId("classes").textContent));
  let watched = null;
  const write = () => {
    const state = new URLSearchParams({ ...gallery.state(), ...watched });
    const section = location.hash.includes("=") ? "" : location.hash;
    history.replaceState(null, "", String(state) ? `#${state}` : section || location.pathname + location.search);
  };
  player.neighbours = (id) => gallery.neighbours(id);
  player.onChange = (state) => {
    const { track, ...rest } = state ?? {};
    watched = state && (track === null ? rest : state);
    write();
  };
  const read = () => {
    const state = stateOfAddress();
    const filters = state && Object.fromEntries(Object.entries(state).filter(([key]) => FILTERS.includes(key)));
    // A link to a video leaves the filters as they are.
    if (filters && (Object.keys(filters).length || !("video" in state))) gallery.set(filters);
    if (state && "video" in state) open(state);
  };
  const open = ({ video, frame, track }) => {
    const found = player.open(Number(video), Number(frame ?? 0), track === undefined ? null : Number(track));
    byId("absent").hidden = found;
    if (!found) {
      byId("absent").textContent = `Video ${video} is not among those on this page.`;
      byId("videos").scrollIntoView();
    }
  };
  gallery.apply();
  read();
  gallery.onChange = write;
  addEventListener("hashchange", read);
}

followSections();
if (byId("clips")) startVideos();
