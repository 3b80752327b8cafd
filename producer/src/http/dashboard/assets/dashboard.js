// What pages do beyond forms and links: they keep themselves fresh, the transcript follows the sound, times are local.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- Parts that the server makes anew -------------------------------------------------------------------------------

  // What names its version stays as long as that does: a player must not stop because a bar has moved.
  function renew(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const part of [...fresh.content.children]) {
      const old = part.id && document.getElementById(part.id);
      if (!old || old.outerHTML === part.outerHTML) continue;
      if (part.dataset.version && old.dataset.version === part.dataset.version) continue;
      const focused = old.contains(document.activeElement) ? document.activeElement : null;
      const unfolded = all("details[open]", old).length > 0;
      old.replaceWith(part);
      if (unfolded) all("details", part).forEach((details) => { details.open = true; });
      if (part.id === "title") document.title = `${part.textContent} · Podfleet`;
      if (focused && focused.id) document.getElementById(focused.id)?.focus();
      prepare(part);
    }
  }

  function listen(root) {
    const lost = root.querySelector("[data-lost]");
    const show = (hidden) => { if (lost) lost.hidden = hidden; };
    let source = null;
    let wait = 1000;
    let ended = false;
    const open = () => {
      if (source) return;
      source = new EventSource(root.dataset.live);
      source.onopen = () => { wait = 1000; show(true); };
      source.addEventListener("parts", (event) => renew(event.data));
      source.addEventListener("end", (event) => { renew(event.data); ended = true; close(); });
      source.onerror = () => {
        show(false);
        if (source.readyState !== EventSource.CLOSED) return;
        // The server was there and did not let us in, or was not there at all: ask again, less and less often.
        source.close();
        source = null;
        setTimeout(() => { if (!paused && !ended && !document.hidden) open(); }, wait);
        wait = Math.min(wait * 2, 15000);
      };
    };
    const close = () => { source?.close(); source = null; show(true); };
    let paused = false;
    open();
    // Nobody sees a page that is hidden, and it costs the server as much.
    addEventListener("visibilitychange", () => {
      if (document.hidden) close();
      else if (!paused && !ended) open();
    });
    addEventListener("pagehide", close);
    return {
      pause: () => { paused = true; close(); },
      go_on: () => { paused = false; open(); },
    };
  }

  // --- The player ------------------------------------------------------------------------------------------------------

  function follow(player) {
    const lines = () => all("[data-transcript] .line");
    let current = null;
    player.addEventListener("timeupdate", () => {
      const now = player.currentTime;
      const line = lines().find((line) => now >= +line.dataset.start && now < +line.dataset.end) || null;
      if (line === current || !line) return;
      current?.classList.remove("now");
      current?.removeAttribute("aria-current");
      current = line;
      line.classList.add("now");
      line.setAttribute("aria-current", "true");
      // Only the transcript scrolls, not the page; and not while somebody reads elsewhere in it.
      const box = line.closest("[data-transcript]");
      if (!box.matches(":hover") && !box.contains(document.activeElement)) {
        box.scrollTop = line.offsetTop - box.offsetTop - box.clientHeight / 3;
      }
    });
  }

  document.addEventListener("click", (event) => {
    const seek = event.target.closest("[data-seek]");
    const player = seek && document.querySelector("[data-player]");
    if (!player) return;
    player.currentTime = +seek.dataset.seek;
    player.play().catch(() => {});
  });

  // --- An article from a file ------------------------------------------------------------------------------------------

  async function take_file(file, field) {
    field.value = await file.text();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function accept_files(field) {
    const over = (yes) => field.classList.toggle("over", yes);
    field.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    field.addEventListener("dragleave", () => over(false));
    field.addEventListener("drop", (event) => {
      over(false);
      const file = event.dataTransfer.files[0];
      if (!file) return;
      event.preventDefault();
      take_file(file, field);
    });
    const chooser = document.querySelector(`[data-file-for="${field.id}"]`);
    if (!chooser) return;
    chooser.hidden = false;
    chooser.addEventListener("change", () => { if (chooser.files[0]) take_file(chooser.files[0], field); });
  }

  // Voices speak the language that is chosen.
  document.querySelector(".new #language")?.addEventListener("change", (event) => {
    const language = event.target.value || document.documentElement.lang;
    for (const audio of all("audio[data-voice]")) {
      audio.src = `/voices/${encodeURIComponent(audio.dataset.voice)}?language=${encodeURIComponent(language)}`;
    }
  });

  // --- Times -----------------------------------------------------------------------------------------------------------

  const wants_local = () => localStorage.getItem("times") !== "utc";

  function tell_times(root) {
    const local = wants_local();
    const options = { dateStyle: "medium", timeStyle: "medium", timeZone: local ? undefined : "UTC" };
    const format = new Intl.DateTimeFormat(document.documentElement.lang, options);
    for (const time of all("time[datetime]", root)) {
      time.textContent = format.format(new Date(time.dateTime)) + (local ? "" : " UTC");
      time.title = time.dateTime;
    }
  }

  const switch_times = document.querySelector("[data-times]");
  function name_switch() {
    if (!switch_times) return;
    switch_times.hidden = false;
    switch_times.textContent = wants_local() ? switch_times.dataset.utc : switch_times.dataset.local;
  }
  switch_times?.addEventListener("click", () => {
    localStorage.setItem("times", wants_local() ? "utc" : "local");
    name_switch();
    tell_times(document);
  });

  // ---------------------------------------------------------------------------------------------------------------------

  function prepare(root) {
    tell_times(root);
    all("[data-player]", root).forEach(follow);
    all("[data-drop]", root).forEach(accept_files);
  }

  prepare(document);
  name_switch();
  const streams = all("[data-live]").map(listen);

  // Whoever wants to read in peace stops it.
  all("[data-pause]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      const pausing = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", pausing);
      button.textContent = pausing ? button.dataset.paused : button.dataset.running;
      streams.forEach((stream) => (pausing ? stream.pause() : stream.go_on()));
    });
  });
  document.addEventListener("htmx:afterSettle", (event) => tell_times(event.target.parentElement || document));
})();
