"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const calls = data.calls;
  const ROWS = 25;
  const at = (id) => document.getElementById(id);
  const STATES = { s: "saved", a: "no recording", d: "not yet", f: "failed", o: "missing", e: "erased" };
  const GRAVITY = "fodsea";
  const SIDES = { combined: "Combined", user: "User", agent: "Agent" };

  const make = (name, properties, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) {
      if (key.includes("-") || key === "role" || key === "scope") element.setAttribute(key, value);
      else element[key] = value;
    }
    element.append(...children);
    return element;
  };

  // Ids of sixteen bytes stand packed, others by their row.
  const bytes = atob(calls.packed);
  const others = new Map(calls.others);
  const ids = [];
  for (let row = 0, taken = 0; row < calls.n; row++) {
    if (others.has(row)) ids.push(others.get(row));
    else {
      let id = "CA";
      for (let n = 0; n < 16; n++) id += bytes.charCodeAt(taken + n).toString(16).padStart(2, "0");
      taken += 16;
      ids.push(id);
    }
  }
  const starts = [];
  calls.start.forEach((value, row) => starts.push(row ? starts[row - 1] - value : value));
  const keyed = (list) => new Map(list.map(([row, side, value]) => [row * 4 + side, value]));
  const whys = keyed(calls.why), paths = keyed(calls.paths);
  const worst = ids.map((_, row) => {
    const found = calls.states.map((side) => side[row]);
    return [...GRAVITY].find((letter) => found.includes(letter));
  });
  const caller = (row) => (calls.callers.length && calls.callers[row] >= 0 ? calls.names[calls.callers[row]] : "");

  let zone = data.zone;
  const format = (locale, options) => {
    try { return new Intl.DateTimeFormat(locale, { ...options, timeZone: zone }); }
    catch { zone = "UTC"; return new Intl.DateTimeFormat(locale, { ...options, timeZone: zone }); }
  };
  const shown = format("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const dayFormat = format("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });
  const when = (row) => (row < starts.length ? shown.format(starts[row] * 1000) : "unknown");
  const days = [];
  const day = (row) => (row < starts.length ? (days[row] ??= dayFormat.format(starts[row] * 1000)) : "");
  const clock = (seconds) => {
    const two = (n) => String(n).padStart(2, "0");
    const h = Math.floor(seconds / 3600), m = Math.floor(seconds / 60) % 60, s = seconds % 60;
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  };

  const pathOf = (row, side) => {
    let path = paths.get(row * 4 + side);
    if (path === undefined) {
      const start = new Date((row < starts.length ? starts[row] : 0) * 1000).toISOString();
      const fields = {
        id: ids[row], direction: calls.directions[side], date: start.slice(0, 10), year: start.slice(0, 4),
        month: start.slice(5, 7), day: start.slice(8, 10), hour: start.slice(11, 13),
      };
      path = data.template.replace(/\{(\w+)\}/g, (_, name) => fields[name]);
    }
    return path;
  };
  const href = (row, side) => data.prefix + pathOf(row, side).split("/").map(encodeURIComponent).join("/");

  // What is shown: filtered, sorted, a page of it.
  const columns = [
    { name: "Call began", value: (row) => (row < starts.length ? starts[row] : -1), down: true },
    { name: "Length", value: (row) => calls.seconds[row], down: true, number: true },
    ...calls.directions.map((name, side) => ({ name: SIDES[name] || name, side })),
    { name: "State", value: (row) => GRAVITY.indexOf(worst[row]) },
    ...(calls.names.length ? [{ name: "Caller", value: caller }] : []),
    { name: "Conversation", value: (row) => ids[row] },
  ];
  let sort = 0, isDown = true, page = 0, current = 0;
  let rows = [];

  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const select = () => {
    const text = at("text").value.trim().toLowerCase(), state = at("state").value;
    const from = at("from").value, to = at("to").value;
    rows = [];
    for (let row = 0; row < calls.n; row++) {
      if (state && !(state === "!" ? "fod".includes(worst[row]) : worst[row] === state)) continue;
      if (text && !ids[row].toLowerCase().includes(text) && !caller(row).toLowerCase().includes(text)) continue;
      if ((from || to) && (!day(row) || (from && day(row) < from) || (to && day(row) > to))) continue;
      rows.push(row);
    }
    const value = columns[sort].value, sign = isDown ? -1 : 1;
    rows.sort((a, b) => sign * compare(value(a), value(b)) || a - b);
    page = current = 0;
    draw();
  };

  // Recordings in an object store cannot be opened from here: their addresses are shown instead.
  const PLAY = data.store ? "Address" : "▶ Play";
  const playLabel = (row, side) => `${data.store ? "Address of" : "Play"} ${SIDES[calls.directions[side]].toLowerCase()}, ${when(row)}, ${ids[row]}`;
  const cellOf = (row, side) => {
    const letter = calls.states[side][row], name = SIDES[calls.directions[side]];
    if (letter === "s") {
      const button = make("button", { type: "button", className: "play", tabIndex: -1, "aria-label": playLabel(row, side) }, PLAY);
      button.dataset.side = side;
      return make("td", { role: "gridcell", "data-label": name }, button);
    }
    const why = whys.get(row * 4 + side);
    const words = letter === "-" ? "not asked for" : why === undefined ? STATES[letter] : calls.reasons[why];
    return make("td", { role: "gridcell", "data-label": name }, make("span", { className: "fo".includes(letter) ? "why bad" : "why" }, words));
  };
  const line = (row, place) => {
    const cells = columns.map((column) => {
      if (column.side !== undefined) return cellOf(row, column.side);
      if (column.name === "Call began") return make("td", { role: "gridcell" }, when(row));
      if (column.name === "Length") return make("td", { role: "gridcell", className: "n" }, worst[row] === "s" || calls.seconds[row] ? clock(calls.seconds[row]) : "–");
      if (column.name === "Caller") return make("td", { role: "gridcell" }, caller(row) || "–");
      if (column.name === "State") return make("td", { role: "gridcell" }, make("span", { className: `dot ${worst[row]}`, "aria-hidden": "true" }), STATES[worst[row]]);
      return make("td", { role: "gridcell", className: "id", title: ids[row] }, ids[row]);
    });
    const element = make("tr", { role: "row", tabIndex: -1, "aria-rowindex": String(place + 2) }, ...cells);
    element.dataset.row = row;
    return element;
  };
  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    const begin = page * ROWS;
    const part = rows.slice(begin, begin + ROWS);
    at("rows").replaceChildren(...part.map((row, n) => line(row, begin + n)));
    if (!part.length) at("rows").append(make("tr", { role: "row" }, make("td", { role: "gridcell", colSpan: columns.length }, "No call is like that.")));
    at("table").setAttribute("aria-rowcount", rows.length + 1);
    [...at("heads").children].forEach((head, n) => {
      if (columns[n].value) head.setAttribute("aria-sort", n === sort ? (isDown ? "descending" : "ascending") : "none");
    });
    const number = (n) => n.toLocaleString("en-GB");
    at("count").textContent = rows.length === calls.n ? `${number(calls.n)} ${calls.n === 1 ? "call" : "calls"}` : `${number(rows.length)} of ${number(calls.n)} calls`;
    at("where").textContent = `Page ${number(page + 1)} of ${number(pages)}`;
    at("first").disabled = at("before").disabled = page === 0;
    at("last").disabled = at("after").disabled = page === pages - 1;
    focusable(Math.min(current, part.length - 1), false);
    mark();
  };
  const lines = () => [...at("rows").querySelectorAll("tr[data-row]")];
  const focusable = (n, take) => {
    lines().forEach((each, place) => { each.tabIndex = place === n ? 0 : -1; });
    current = Math.max(n, 0);
    if (take && lines()[n]) lines()[n].focus();
  };

  // Keys, as in any grid: one stop for Tab, arrows inside.
  const turn = (to, place) => { page = to; draw(); focusable(place < 0 ? lines().length - 1 : Math.min(place, lines().length - 1), true); };
  const pages = () => Math.max(1, Math.ceil(rows.length / ROWS));
  at("rows").addEventListener("keydown", (event) => {
    const here = event.target.closest("tr[data-row]");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = lines(), n = all.indexOf(here);
    const stops = [here, ...here.querySelectorAll("button")], stop = stops.indexOf(event.target);
    const moves = {
      ArrowDown: () => (n + 1 < all.length ? focusable(n + 1, true) : page + 1 < pages() && turn(page + 1, 0)),
      ArrowUp: () => (n > 0 ? focusable(n - 1, true) : page > 0 && turn(page - 1, -1)),
      ArrowRight: () => stops[stop + 1] && stops[stop + 1].focus(),
      ArrowLeft: () => stop > 0 && stops[stop - 1].focus(),
      PageDown: () => page + 1 < pages() && turn(page + 1, n),
      PageUp: () => page > 0 && turn(page - 1, n),
      Home: () => turn(0, 0),
      End: () => turn(pages() - 1, -1),
    };
    if (moves[event.key]) moves[event.key]();
    else if ((event.key === "Enter" || event.key === " ") && event.target === here && stops[1]) stops[1].click();
    else return;
    event.preventDefault();
  });
  at("rows").addEventListener("focusin", (event) => {
    const here = event.target.closest("tr[data-row]");
    if (here) focusable(lines().indexOf(here), false);
  });

  // The player: one for all, so that two never speak at once.
  const audio = at("audio");
  let playing = null, opener = null;
  const play = (row, side, from) => {
    const isSame = playing && playing.row === row;
    const second = isSame ? audio.currentTime : 0;
    playing = { row, side };
    at("fault").textContent = "";
    at("player").hidden = false;
    at("what").textContent = when(row);
    at("whose").textContent = ids[row];
    if (data.store) at("address").textContent = data.store + pathOf(row, side);
    else at("file").href = href(row, side);
    at("sides").replaceChildren(...calls.directions.map((name, each) => {
      const button = make("button", { type: "button", className: "play", disabled: calls.states[each][row] !== "s", "aria-pressed": String(each === side) }, SIDES[name]);
      button.addEventListener("click", () => { play(row, each); at("sides").children[each].focus(); });
      return button;
    }));
    if (from) opener = from;
    if (data.store) return mark();
    audio.src = href(row, side);
    // The directions of a call run side by side: a change of side goes on at the same second.
    if (second) audio.addEventListener("loadedmetadata", () => { audio.currentTime = Math.min(second, audio.duration || 0); }, { once: true });
    audio.play().catch(() => {});
    mark();
  };
  const mark = () => {
    for (const element of lines()) {
      const isOn = playing !== null && Number(element.dataset.row) === playing.row;
      element.classList.toggle("on", isOn);
      for (const button of element.querySelectorAll(".play")) {
        const isPlaying = isOn && Number(button.dataset.side) === playing.side && (data.store || !audio.paused);
        button.setAttribute("aria-pressed", String(Boolean(isPlaying)));
        button.textContent = isPlaying && !data.store ? "❚❚ Pause" : PLAY;
      }
    }
  };
  const close = () => {
    audio.pause();
    audio.removeAttribute("src");
    playing = null;
    at("player").hidden = true;
    mark();
    if (opener && opener.isConnected) opener.focus();
    else focusable(current, true);
  };
  at("rows").addEventListener("click", (event) => {
    const button = event.target.closest("button.play");
    if (!button) return;
    const row = Number(button.closest("tr").dataset.row), side = Number(button.dataset.side);
    const isThis = playing && playing.row === row && playing.side === side;
    if (isThis && data.store) close();
    else if (isThis && !audio.error) {
      if (audio.paused) audio.play().catch(() => {}); else audio.pause();
    } else play(row, side, button);
  });
  for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, mark);
  audio.addEventListener("error", () => {
    if (!playing || !audio.getAttribute("src")) return;
    const codec = calls.codecs[calls.codec.charCodeAt(playing.row) - 97];
    at("fault").textContent = `It cannot be played here: either the file is no longer where the archive keeps it, or this browser does not know its format (WAV, ${codec || "unknown"}). Open the file to hear it in another program.`;
    mark();
  });
  at("close").addEventListener("click", close);
  if (data.store) {
    audio.hidden = at("file").hidden = true;
    at("address").hidden = false;
    at("player").setAttribute("aria-label", "Address");
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && playing) close(); });

  at("heads").append(...columns.map((column, n) => {
    const head = make("th", { scope: "col", role: "columnheader", className: column.number ? "n" : "" });
    if (!column.value) { head.textContent = column.name; return head; }
    const button = make("button", { type: "button" }, column.name);
    button.addEventListener("click", () => {
      isDown = sort === n ? !isDown : Boolean(column.down);
      sort = n;
      select();
    });
    head.append(button);
    return head;
  }));
  at("state").append(
    make("option", { value: "!" }, "not complete"),
    ...[...GRAVITY].map((letter) => make("option", { value: letter }, STATES[letter])),
  );
  if (calls.names.length) at("text").placeholder = "part of an id or a number";
  for (const id of ["text", "state", "from", "to"]) at(id).addEventListener("input", select);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => setTimeout(select));
  at("first").addEventListener("click", () => { page = 0; draw(); });
  at("before").addEventListener("click", () => { page -= 1; draw(); });
  at("after").addEventListener("click", () => { page += 1; draw(); });
  at("last").addEventListener("click", () => { page = pages() - 1; draw(); });
  for (const picture of document.querySelectorAll(".month [data-d]")) {
    picture.addEventListener("click", () => {
      at("from").value = at("to").value = picture.dataset.d;
      select();
      at("calls").scrollIntoView();
    });
  }
  if (calls.n) { at("app").hidden = false; select(); }
})();
